// Numbers as people read them, and elements made of text. Nothing here or elsewhere
// turns text into markup.

// took returns microseconds as a time.
export function took(us) {
  if (us < 1000) return `${us} µs`;
  if (us < 1e6) return `${short(us / 1e3)} ms`;
  if (us < 60e6) return `${short(us / 1e6)} s`;
  const s = Math.floor(us / 1e6);
  return `${Math.floor(s / 60)} min ${s % 60} s`;
}

// size returns a number of bytes.
export function size(n) {
  if (n < 1024) return `${n} B`;
  if (n < 1 << 20) return `${short(n / 1024)} KiB`;
  return `${short(n / (1 << 20))} MiB`;
}

// short returns a number with three digits or more.
function short(n) {
  return n < 10 ? n.toFixed(2) : n < 100 ? n.toFixed(1) : n.toFixed(0);
}

// time returns the time of a day with milliseconds.
export function time(ms) {
  const d = new Date(ms);
  const digits = (n, width) => String(n).padStart(width, '0');
  return `${digits(d.getHours(), 2)}:${digits(d.getMinutes(), 2)}:${digits(d.getSeconds(), 2)}.${digits(d.getMilliseconds(), 3)}`;
}

export const byID = (id) => document.getElementById(id);

// element makes an element with a class and children, which may be text.
export function element(tag, className = '', ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  e.append(...children);
  return e;
}

// setText changes a text only if it is another, so that a selection survives.
export function setText(e, text) {
  text = String(text);
  if (e.textContent !== text) e.textContent = text;
}

// sync makes the children of an element those of a list. A child that is there stays,
// with its focus and selection: make is called for new items, fill for all. Items of
// one key share a child.
export function sync(parent, items, key, make, fill) {
  const old = new Map();
  for (const child of parent.children) old.set(child.dataset.key, child);
  const left = new Set(parent.children);
  let next = parent.firstElementChild;
  for (const item of items) {
    const k = String(key(item));
    let child = old.get(k);
    if (!child) {
      child = make(item);
      child.dataset.key = k;
      old.set(k, child);
    }
    left.delete(child);
    fill(child, item);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const child of left) child.remove();
}
