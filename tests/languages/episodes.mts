// Two episodes and an error by openapi-fetch, with the types of openapi-typescript: `episodes.mjs URL`, which prints what
// it was told as JSON.

import createClient from "openapi-fetch";
import type { paths } from "./client.js";

const client = createClient<paths>({ baseUrl: process.argv[2]! });

const { data: created } = await client.POST("/v1/envs/", { body: { env_id: "CartPole-v1" } });
const params = { path: { instance_id: created!.instance_id } };
const played: unknown[] = [];
for (const seed of [1, 2]) {
  const { data: first } = await client.POST("/v1/envs/{instance_id}/reset/", { params, body: { seed } });
  let observation = first!.observation as number[];
  let [steps, total, done] = [0, 0, false];
  while (!done) {
    const action = observation[2]! > 0 ? 1 : 0;
    const { data: step } = await client.POST("/v1/envs/{instance_id}/step/", { params, body: { action } });
    observation = step!.observation as number[];
    [steps, total, done] = [steps + 1, total + step!.reward!, step!.done];
  }
  played.push([steps, total, observation]);
}
const { error } = await client.POST("/v1/envs/{instance_id}/step/", { params, body: { action: 2 } });
await client.POST("/v1/envs/{instance_id}/close/", { params });
const problem = [error!.status, error!.type, error!.detail];
console.log(JSON.stringify({ env_id: created!.env_id, episodes: played, problem }));
