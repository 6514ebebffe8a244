// Times as people read them, in UTC or as the clock of their place has them; times are milliseconds since 1970.

const SECOND = 1000;
const DAY = 86400 * SECOND;
const STEPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400].map((s) => s * SECOND),
];
// The least room between two marks of the axis of time, whose texts end with milliseconds, seconds or minutes.
const [FRACTIONS_APART, SECONDS_APART, MINUTES_APART] = [92, 72, 64];

// How far the clock of the place is ahead of UTC.
function ahead(time, isLocal) {
  return isLocal ? -new Date(time).getTimezoneOffset() * 60 * SECOND : 0;
}

function isoText(time, isLocal) {
  return new Date(time + ahead(time, isLocal)).toISOString();
}

function clockText(time, isLocal, digits = 3) {
  return isoText(time, isLocal).slice(11, 19 + (digits && digits + 1));
}

function dateText(time, isLocal) {
  return isoText(time, isLocal).slice(0, 10);
}

function zoneText(time, isLocal) {
  const minutes = ahead(time, isLocal) / 60 / SECOND;
  if (!minutes) return "UTC";
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  return `UTC${minutes < 0 ? "-" : "+"}${two(Math.abs(minutes) / 60)}:${two(Math.abs(minutes) % 60)}`;
}

// Finds round times, and gives the text of each; the date of the first and of each with which a day begins is under it.
function timeTicks(from, to, pixels, isLocal = false) {
  const apart = (step) => (step < SECOND ? FRACTIONS_APART : step < 60 * SECOND ? SECONDS_APART : MINUTES_APART);
  const span = to - from;
  const fits = (step) => (step / span) * pixels >= Math.min(apart(step), pixels);
  const step = STEPS.find(fits) || Math.ceil(((span / pixels) * apart(DAY)) / DAY) * DAY;
  const shift = ahead(from, isLocal);
  const found = [];
  for (let time = Math.ceil((from + shift) / step) * step - shift; time <= to; time += step) found.push(time);
  const clock = (time) => isoText(time, isLocal).slice(11, step >= 60 * SECOND ? 16 : step >= SECOND ? 19 : 23);
  const dates = found.map((time) => dateText(time, isLocal));
  const under = (time) => {
    const at = found.indexOf(time);
    return dates[at] === dates[at - 1] ? "" : dates[at];
  };
  return step >= DAY ? { found, text: (time) => dateText(time, isLocal) } : { found, text: clock, under };
}
