// The two charts, of the seconds that the proxy has told of.

import { byID, element, setText, sync, took } from './text.js';

const width = 300; // seconds
const lines = 5; // actions with a line of their own

const dark = matchMedia('(prefers-color-scheme: dark)');
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

let seconds = new Map(); // points by action, by second
let until = 0; // the last second
let actions = []; // their names
const rate = { series: '' };
const latency = { series: '' };

export function reset() {
  seconds = new Map();
}

// add takes new seconds.
export function add(update) {
  until = update.until;
  actions = update.actions.map((a) => a.name);
  for (const s of update.seconds ?? []) {
    seconds.set(s.second, new Map(s.points.map((p) => [p.action, p])));
  }
  for (const s of seconds.keys()) if (s <= until - width) seconds.delete(s);
}

// callsInLastSecond returns how many calls have ended in the last second.
export const callsInLastSecond = () => seconds.get(until)?.get(0)?.calls ?? 0;

export function draw() {
  const times = Array.from({ length: width }, (_, i) => until - width + 1 + i);
  const values = (action, of) => times.map((t) => of(seconds.get(t)?.get(action)));

  // The actions with the most calls in this time.
  const calls = new Map();
  for (const points of seconds.values()) {
    for (const [action, p] of points) calls.set(action, (calls.get(action) ?? 0) + p.calls);
  }
  const most = [...calls.keys()].filter((a) => a !== 0).sort((a, b) => calls.get(b) - calls.get(a) || a - b).slice(0, lines).sort((a, b) => a - b);
  const names = most.map((a) => actions[a]);
  const data = most.map((a) => values(a, (p) => p?.calls ?? 0));
  if (calls.size > lines + 1) {
    names.push('the rest');
    data.push(times.map((t, i) => (seconds.get(t)?.get(0)?.calls ?? 0) - data.reduce((sum, line) => sum + line[i], 0)));
  }
  show(rate, byID('rate'), byID('rate-legend'), names, (n) => `${n} /s`, { distr: 1, range: (u, min, max) => [0, Math.max(5, max * 1.1)] }, [times, ...data]);

  const chosen = Number(byID('latency-action').value);
  const answered = (of) => (p) => (p && p.max > 0 ? of(p) : null);
  show(latency, byID('latency'), byID('latency-legend'), ['p50', 'p90', 'p99'], took, { distr: 3, range: decades }, [
    times,
    values(chosen, answered((p) => p.p50)),
    values(chosen, answered((p) => p.p90)),
    values(chosen, answered((p) => p.p99)),
  ]);
}

// decades returns the powers of ten around the values.
function decades(u, min, max) {
  if (!(min > 0)) return [100, 1e6];
  const low = 10 ** Math.floor(Math.log10(min));
  return [low, Math.max(low * 10, 10 ** Math.ceil(Math.log10(max)))];
}

// show draws a chart; it is made anew if it has other lines than before.
function show(chart, parent, legend, names, format, scale, data) {
  const series = JSON.stringify([names, dark.matches]);
  if (chart.series !== series) {
    chart.plot?.destroy();
    chart.series = series;
    chart.plot = make(chart, parent, names, format, scale, data);
    chart.resized ??= new ResizeObserver(() => chart.plot.setSize({ width: parent.clientWidth, height: parent.clientHeight }));
    chart.resized.disconnect();
    chart.resized.observe(parent);
  } else {
    chart.plot.setData(data);
  }
  chart.legend = () => {
    const at = chart.plot.cursor.idx ?? data[0].length - 1;
    sync(legend, names.map((name, i) => ({ name, i })), (n) => n.i,
      ({ i }) => element('li', '', element('span', `swatch c${i}`), element('span', 'name'), element('span', 'value')),
      (li, { name, i }) => {
        setText(li.children[1], name);
        const value = chart.plot.data[i + 1][at];
        setText(li.children[2], value == null ? '–' : format(value));
      });
  };
  chart.legend();
}

function make(chart, parent, names, format, scale, data) {
  const logarithmic = scale.distr === 3;
  const wanted = (u, values) => values.map((v) => (logarithmic ? isPowerOfTen(v) : Number.isInteger(v)) ? v : null);
  const axis = { stroke: color('--faint'), grid: { stroke: color('--line'), width: 1 }, ticks: { stroke: color('--line'), width: 1 }, font: '12px system-ui, sans-serif' };
  return new uPlot({
    width: parent.clientWidth,
    height: parent.clientHeight,
    legend: { show: false },
    cursor: { drag: { x: false, y: false } },
    scales: { x: { time: true }, y: scale },
    axes: [
      { ...axis, values: '{HH}:{mm}:{ss}', space: 80, size: 32 },
      {
        ...axis, size: 64, filter: wanted, grid: { ...axis.grid, filter: wanted }, ticks: { ...axis.ticks, filter: wanted },
        values: (u, values) => values.map((v) => (v == null ? '' : logarithmic ? took(v).replace(/\.0+ /, ' ') : v)),
      },
    ],
    series: [{}, ...names.map((_, i) => ({ stroke: color(`--color-${i}`), width: 1.5, points: { show: true, size: 4, filter: alone } }))],
    hooks: { setCursor: [() => chart.legend?.()] },
  }, data, parent);
}

const isPowerOfTen = (v) => /^10*$/.test(String(v));

// alone returns the points that have no neighbour, and so no line to them.
function alone(u, series) {
  const values = u.data[series];
  const points = [];
  values.forEach((v, i) => {
    if (v != null && values[i - 1] == null && values[i + 1] == null) points.push(i);
  });
  return points;
}
