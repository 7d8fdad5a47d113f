// Follows the first job that comes by, knowing nothing of Headrace but its AsyncAPI document. Used by tests/integration/test_asyncapi_javascript.py.
//
//   node follow.mjs asyncapi.json nats://127.0.0.1:4222 TOKEN
//
// Subscribes to every channel of the document, checks each payload against the schemas of its channel's messages, and prints one line of
// JSON: {"ready": true} once it listens, {"channel", "message", "errors"} for each message, and at the end {"job", "state", "tasks", "outputs"}.
import { readFileSync } from "node:fs";
import { connect } from "@nats-io/transport-node";
import Ajv from "ajv/dist/2020.js";

const [path, servers, token] = process.argv.slice(2);
const document = JSON.parse(readFileSync(path, "utf8"));
const say = (line) => console.log(JSON.stringify(line));

// The document's references are into itself, so the whole of it is one schema for the validator.
const ajv = new Ajv({ strict: false, validateFormats: false });
ajv.addSchema(document, "asyncapi");
const at = (pointer) => pointer.slice(2).split("/").reduce((node, key) => node[key.replaceAll("~1", "/")], document);

function messagesOf(channel) {
  return Object.entries(channel.messages).map(([name, reference]) => {
    const { payload } = at(reference.$ref);
    const pointer = payload.$ref ?? `${reference.$ref}/payload`;
    return { name, accepts: ajv.compile({ $ref: `asyncapi${pointer}` }) };
  });
}

function recognise(messages, payload) {
  for (const { name, accepts } of messages) if (accepts(payload)) return { message: name, errors: [] };
  return { message: null, errors: messages.flatMap(({ accepts }) => accepts.errors ?? []).map((error) => error.message) };
}

const nc = await connect({ servers, token });
const job = { id: null, tasks: null, wanted: null, outputs: [], state: null };

function learn(message, payload) {
  if (message === "Submitted") {
    job.id = payload.job;
    job.tasks = payload.n_tasks;
    job.wanted = payload.graph.inline.outputs.length;
  } else if (message === "Published") {
    job.outputs.push(...payload.outputs.map((output) => output.name));
  } else if (message === "Ended") {
    job.state = payload.state;
  }
  if (job.state !== null && job.outputs.length === job.wanted) {
    say({ job: job.id, state: job.state, tasks: job.tasks, outputs: job.outputs });
    process.exit(0);
  }
}

for (const [name, channel] of Object.entries(document.channels)) {
  const messages = messagesOf(channel);
  nc.subscribe(channel.address.replaceAll(/\{\w+\}/g, "*"), {
    callback: (_, received) => {
      if (received.data.length === 0) return; // a key was deleted, or expired
      const payload = received.json();
      const { message, errors } = recognise(messages, payload);
      say({ channel: name, message, errors });
      if (message === null) process.exit(1);
      learn(message, payload);
    },
  });
}
await nc.flush();
say({ ready: true });
