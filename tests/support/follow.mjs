// Follows a widget by link.js. A line on the standard input is a list of messages with their buffers, in base64, and the
// answer says what a view knows after them; or it is `moments`, how late is drawn and when, and the answer lists at which
// of them the view says so.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const { Follower, Word } = new Function(`${readFileSync(process.argv[2], "utf8")}; return { Follower, Word };`)();

function base64(numbers) {
  return Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength).toString("base64");
}

function followed(taken) {
  let looks = 0;
  let problem = "";
  const follower = new Follower({ say: () => (looks += 1), later: () => {}, warn: (text) => (problem = text) });
  const { state } = follower;
  // As the widget's first picture, the first message is there before the view follows.
  taken.forEach(([message, buffer], at) => {
    // A copy at an odd place, as buffers are in a message.
    const bytes = new Uint8Array([0, ...Buffer.from(buffer, "base64")]);
    const data = new DataView(bytes.buffer, 1);
    if (at) follower.receive(message, data, at);
    else state.take(message, data);
  });
  const arrays = Object.fromEntries(Object.keys(state.series).map((name) => [name, base64(state.array(name))]));
  return { number: state.number, values: state.values, arrays, looks, behind: follower.behind, problem };
}

function said(moments) {
  const word = new Word();
  const told = [];
  for (const [late, now] of moments) {
    if (!word.due(late, now)) continue;
    word.said = now;
    told.push(now);
  }
  return told;
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  console.log(JSON.stringify(asked.moments ? said(asked.moments) : followed(asked)));
}
