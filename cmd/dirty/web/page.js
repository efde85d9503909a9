// Receives what passes the proxy, and shows it.

import * as charts from './charts.js';
import { byID, element, setText, size, sync, time, took } from './text.js';

const maxCalls = 1000; // that the page remembers
const maxRows = 100; // of them that are shown

let latest; // the last update
let ended = []; // calls, the newest first
let shown = []; // the list while it is held
let opened = 0; // the call in the dialog, 0 if there is none

// Connection

const silence = 8000; // milliseconds after which a connection counts as lost
let source;
let heard = 0;

function connect() {
  source?.close();
  source = new EventSource('events');
  heard = Date.now();
  source.onmessage = (e) => {
    heard = Date.now();
    setConnection('live', 'live');
    receive(JSON.parse(e.data));
  };
  source.onerror = () => setConnection('lost', 'no connection, trying again');
}

// The browser gives up after some errors, and does not notice a dead network.
setInterval(() => {
  if (source.readyState === EventSource.CLOSED || Date.now() - heard > silence) {
    setConnection('lost', 'no connection, trying again');
    connect();
  }
}, 1000);

function setConnection(state, text) {
  byID('connection').className = `state ${state}`;
  setText(byID('connection'), text);
}

function receive(update) {
  if (update.about) { // a new connection, maybe to a new proxy
    setText(byID('about'), `${update.about.listen} to ${update.about.arbiter}`);
    ended = [];
    // Another proxy counts its calls from 1 again, and has other actions.
    byID('ended').replaceChildren();
    byID('latency-action').replaceChildren();
    charts.reset();
  }
  latest = { ...update, about: update.about ?? latest.about };
  ended = (update.ended ?? []).reverse().concat(ended).slice(0, maxCalls);
  charts.add(update);
  show();
}

// What is shown

function show() {
  if (!latest) return;
  const all = latest.actions[0];
  setText(byID('calls-total'), all.calls);
  setText(byID('calls-second'), charts.callsInLastSecond());
  setText(byID('calls-open'), latest.inProgress);
  setText(byID('calls-errors'), all.errors);
  setText(byID('calls-unanswered'), all.unanswered);
  showNotes();
  showWorkers();
  showActions();
  showOpen();
  showEnded();
  charts.draw();
}

function showNotes() {
  const notes = [];
  const stuck = latest.arbiter.workers.filter((w) => w.state === 'stuck').length;
  if (latest.arbiter.error) notes.push(`The arbiter does not answer: ${latest.arbiter.error}`);
  if (stuck) notes.push(`${stuck === 1 ? 'A worker has' : `${stuck} workers have`} not answered for long: stuck, or in a call that takes long.`);
  if (latest.missed) notes.push(`${latest.missed} events came too fast and were missed: the figures are too low.`);
  if (latest.broken) notes.push(`Bytes that are no frames have passed (${latest.broken} times).`);
  sync(byID('notes'), notes, (n) => notes.indexOf(n), () => element('p'), setText);
}

function showWorkers() {
  const workers = latest.arbiter.workers;
  byID('workers-empty').hidden = workers.length > 0;
  sync(byID('workers'), workers, (w) => w.pid,
    () => element('li', '', element('p', 'head', element('span'), element('span')), element('p', 'apps'), element('p', 'about')),
    (li, w) => {
      li.className = w.state;
      const [head, apps, about] = li.children;
      setText(head.children[0], `Worker ${w.age}`);
      head.children[1].className = `state ${w.state}`;
      setText(head.children[1], w.state);
      setText(apps, w.apps.join(', ') || 'no app');
      const silent = w.silent ? `, has not answered for ${Math.floor(w.silent)} s` : '';
      const where = w.state === 'stuck' ? `. See where: py-spy dump --pid ${w.pid}` : '';
      setText(about, `pid ${w.pid}, heartbeat ${w.heartbeat.toFixed(1)} s ago${silent}${where}`);
    });
}

function showActions() {
  const select = byID('latency-action');
  const actions = latest.actions.map((a, index) => ({ ...a, index })); // a client can choose any name
  sync(select, actions, (a) => a.index, (a) => new Option(a.name, a.index), () => {});
  sync(byID('actions'), actions.filter((a) => a.calls > 0), (a) => a.index,
    (a) => row(() => {
      select.value = a.index;
      show();
    }, 'name', '', '', '', '', '', '', ''),
    (tr, a) => {
      tr.className = a.index === Number(select.value) ? 'chosen' : '';
      fill(tr, a.name, a.calls, a.errors, a.unanswered, ...[a.p50, a.p90, a.p99, a.max].map((us) => (us ? took(us) : '–')));
    });
}

function showOpen() {
  const calls = latest.open ?? [];
  byID('open-table').hidden = calls.length === 0;
  byID('open-empty').hidden = calls.length > 0;
  const more = latest.inProgress - calls.length;
  setText(byID('open-more'), more > 0 ? `and ${more} more` : '');
  sync(byID('open'), calls, (c) => c.id,
    (c) => row(() => openCall(c.id), 'name', '', '', '', 'rare', '', 'rare'),
    (tr, c) => fill(tr, c.name, took(c.took), c.answered ? took(c.first) : '–', c.chunks, size(c.sent), size(c.received), `#${c.conn}`));
}

function showEnded() {
  if (!byID('paused').checked) shown = ended;
  const words = byID('filter-text').value.toLowerCase().split(/\s+/).filter(Boolean);
  const outcome = byID('filter-outcome').value;
  const matches = shown.filter((c) => {
    if (outcome && c.outcome !== outcome) return false;
    const text = `${c.name} ${c.outcome} ${c.class} #${c.conn} `.toLowerCase();
    return words.every((w) => text.includes(w.startsWith('#') ? `${w} ` : w));
  });
  const rows = matches.slice(0, maxRows);
  const filtered = words.length > 0 || outcome;
  setText(byID('ended-count'), `${rows.length} of ${matches.length}${filtered ? ' that match' : ''}`);
  byID('ended-empty').hidden = rows.length > 0;
  setText(byID('ended-empty'), shown.length > 0 ? 'No call matches.' : 'No call yet.');
  sync(byID('ended'), rows, (c) => c.id,
    (c) => {
      const tr = row(() => openCall(c.id), 'text', 'name', 'text', '', 'rare', 'rare', 'rare', 'rare', 'rare');
      const outcome = element('span', `state ${c.outcome === 'ok' ? 'ok' : c.outcome === 'error' ? 'error' : ''}`, c.outcome);
      tr.children[2].append(outcome, c.class ? ` ${c.class}` : '');
      fill(tr, time(c.start), c.name, null, c.answered ? took(c.took) : '–', c.answered ? took(c.first) : '–', c.chunks || '', size(c.sent), size(c.received), `#${c.conn}`);
      return tr;
    },
    () => {});
}

// row makes a row with a cell for each class. In the cell of the class name is a
// button.
function row(click, ...classes) {
  const tr = element('tr');
  for (const name of classes) {
    const td = element('td', name);
    if (name === 'name') {
      const button = element('button', 'link');
      button.type = 'button';
      button.onclick = click;
      td.append(button);
    }
    tr.append(td);
  }
  return tr;
}

// fill sets the texts of the cells of a row; null leaves one as it is.
function fill(tr, ...texts) {
  texts.forEach((text, i) => {
    if (text === null) return;
    const td = tr.children[i];
    setText(td.firstElementChild ?? td, text);
    if (td.className === 'name') td.title = text;
  });
}

// One call

const dialog = byID('call');
byID('call-close').onclick = () => dialog.close();
dialog.onclose = () => { if (!dialog.open) opened = 0; }; // the next one may be open already
dialog.onclick = (e) => { if (e.target === dialog) dialog.close(); }; // beside it

async function openCall(id) {
  opened = id;
  byID('frames').replaceChildren();
  for (const part of ['call-title', 'call-about', 'call-note']) setText(byID(part), '');
  dialog.showModal();
  // A call in progress is asked for again and again.
  while (opened === id) {
    const details = await fetchCall(id);
    if (opened !== id) return;
    if (details) showCall(details);
    if (!details || details.call.outcome) return;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

async function fetchCall(id) {
  try {
    const answer = await fetch(`calls/${id}`);
    if (answer.ok) return await answer.json();
    setText(byID('call-note'), await answer.text());
  } catch {
    setText(byID('call-note'), 'The proxy does not answer.');
  }
  return null;
}

function showCall({ call, frames, skipped }) {
  setText(byID('call-title'), call.name);
  const outcome = call.outcome ? `${call.outcome} ${call.class}`.trim() : 'in progress';
  setText(byID('call-about'), `${time(call.start)}, connection ${call.conn}, ${outcome}${call.answered || !call.outcome ? `, ${took(call.took)}` : ''}${call.chunks ? `, ${call.chunks} chunks` : ''}, ${size(call.sent)} sent, ${size(call.received)} received`);
  setText(byID('call-note'), latest.about.values ? '' : 'Values are shown if the proxy runs with --full.');
  const items = frames.map((f, i) => ({ ...f, key: i === frames.length - 1 && skipped ? 'last' : i }));
  if (skipped) items.splice(-1, 0, { key: 'skipped', skipped });
  sync(byID('frames'), items, (f) => f.key, () => element('li'), (li, f) => {
    if (f.skipped) {
      setText(li, `${f.skipped} more frames`);
      return;
    }
    if (!li.firstChild) {
      li.append(element('p', 'head', element('span'), element('span', 'type'), element('span'), element('span', 'faint'), element('span', 'faint')));
    }
    const head = li.firstElementChild.children;
    [f.dir === '>' ? '→' : '←', f.type, f.dir === '>' ? 'sent' : `after ${took(f.since)}`, size(f.length), `id ${f.id}`].forEach((text, i) => setText(head[i], text));
    showValue(li, f);
  });
}

function showValue(li, f) {
  let text = '';
  if (f.shown) text = f.shown < f.length ? `${f.value}\n(the first ${size(f.shown)} of ${size(f.length)})` : f.value;
  else if (latest.about.values && f.length > 0) text = '(not kept)';
  let pre = li.querySelector('pre');
  if (!text) {
    pre?.remove();
    return;
  }
  if (!pre) {
    pre = element('pre');
    li.append(pre);
  }
  setText(pre, text);
}

for (const id of ['filter-text', 'filter-outcome', 'paused', 'latency-action']) byID(id).oninput = show;
byID('filter').onsubmit = (e) => e.preventDefault();
matchMedia('(prefers-color-scheme: dark)').onchange = show;
connect();
