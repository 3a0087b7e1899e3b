// Sends to the gateway with one library, and prints the errors that the library reports, as a JSON list.
// node send.mjs LIBRARY ADDRESS KEY [SECONDS]; the last is the time of a signature.
import { Analytics } from "@segment/analytics-node";
import RudderAnalytics from "@rudderstack/rudder-sdk-node";
import { CloudEvent, HTTP } from "cloudevents";
import { Webhook } from "svix";

const [library, address, key, seconds] = process.argv.slice(2);
const errors = [];
const ann = "ann@acme.example";

const libraries = {
  async segment() {
    const client = new Analytics({ writeKey: key, host: address, maxRetries: 0, flushAt: 3 });
    client.on("error", (error) => errors.push(String(error.reason ?? error.code ?? error)));
    client.identify({ userId: ann, traits: { firstName: "Ann", company: { name: "Acme" } } });
    client.track({ userId: ann, event: "Trial Started", properties: { plan: "pro" } });
    client.page({ userId: ann, name: "Pricing", properties: { path: "/pricing" } });
    await client.closeAndFlush({ timeout: 10000 });
  },

  async rudderstack() {
    const client = new (RudderAnalytics.default ?? RudderAnalytics)(key, {
      dataPlaneUrl: address, flushAt: 20, flushInterval: 60000, maxInternalQueueSize: 20, errorHandler: (e) => errors.push(String(e)),
    });
    client.identify({ userId: ann, traits: { firstName: "Ann", company: { name: "Acme" } } });
    client.track({ userId: ann, event: "Trial Started", properties: { plan: "pro" } });
    client.page({ userId: ann, name: "Pricing", properties: { path: "/pricing" } });
    await client.flush();
  },

  async cloudevents() {
    const event = (id) => new CloudEvent({
      id, source: "crm", type: "page.viewed", data: { email: ann, path: "/pricing" },
    });
    const send = async (message) => {
      const answer = await fetch(`${address}/v1/events`, {
        method: "POST", body: message.body, headers: { ...message.headers, authorization: `Bearer ${key}` },
      });
      if (answer.status !== 202) errors.push(`${answer.status} ${await answer.text()}`);
    };
    await send(HTTP.binary(event("a")));
    await send(HTTP.structured(event("b")));
  },

  async svix() {
    const body = JSON.stringify({ type: "form.submitted", data: { email: ann, form: "demo-request" } });
    const at = new Date(Number(seconds) * 1000);
    const post = async (id, text) => {
      const signature = new Webhook(key).sign(id, at, body);
      const answer = await fetch(address, {
        method: "POST",
        body: text,
        headers: {
          "content-type": "application/json", "webhook-id": id, "webhook-signature": signature,
          "webhook-timestamp": seconds,
        },
      });
      if (!answer.ok) errors.push(String(answer.status));
    };
    await post("msg_1", body);
    await post("msg_2", `${body} `); // not what was signed
  },
};

await libraries[library]();
console.log(JSON.stringify(errors));
process.exit(0);
