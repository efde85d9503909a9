// Asks for tokens, and shows each when it comes.

const element = (id) => document.getElementById(id);
let call; // ends the call that runs

element('ask').onsubmit = async (event) => {
  event.preventDefault();
  call = new AbortController();
  setRunning(true);
  setState('waiting');
  element('answer').textContent = '';
  try {
    await generate({ prompt: element('prompt').value, words: element('words').valueAsNumber }, call.signal);
    setState('done');
  } catch (error) {
    if (call.signal.aborted) setState('stopped');
    else setState(error.message, true);
  }
  setRunning(false);
};

// This ends the connection, and with it the action.
element('stop').onclick = () => call.abort();

// A browser may keep a page that was left, with its connections, for the way back.
addEventListener('pagehide', () => call?.abort());

async function generate(args, signal) {
  const answer = await fetch('call/app:LLM/generate', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(args),
    signal,
  });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  if (!answer.headers.get('Content-Type').startsWith('text/event-stream')) {
    throw new Error('The action does not stream.');
  }
  for await (const { name, data } of events(answer.body)) {
    const value = JSON.parse(data);
    if (name === 'end') return;
    if (name === 'error') throw new Error(value.error.message);
    setState('generating');
    element('answer').append(value); // as text
  }
  throw new Error('The connection was lost.');
}

// events yields the Server-Sent Events of a body. An EventSource cannot post.
async function* events(body) {
  let text = '';
  for (const reader = body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      const event = { name: 'message', data: '' };
      for (const line of text.slice(0, end).split('\n')) {
        if (line.startsWith('event: ')) event.name = line.slice(7);
        if (line.startsWith('data: ')) event.data += line.slice(6);
      }
      if (event.data) yield event; // else it is a comment
    }
  }
}

function setRunning(running) {
  element('start').disabled = running;
  element('stop').disabled = !running;
}

function setState(text, failed = false) {
  element('state').textContent = text;
  element('state').className = failed ? 'failed' : '';
}
