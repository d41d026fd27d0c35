// A session of the client generated for TypeScript: `node session.js URL FRAME.png`, which prints what it was told as JSON.
import { deepStrictEqual as equal, match } from "node:assert";
import { writeFileSync } from "node:fs";
import {
  BatchesApi, Configuration, CreateEnvRequestLibraryEnum, EpisodesApi, InstancesApi, Problem, ProblemFromJSON, ResponseError,
  SpacesApi,
} from "./client";

async function problemOf(call: Promise<unknown>): Promise<Problem> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof ResponseError)) throw error;
    match(error.response.headers.get("content-type")!, /^application\/problem\+json/);
    const problem = ProblemFromJSON(await error.response.json());
    equal(problem.status, error.response.status);
    equal(problem.detail, problem.message);
    return problem;
  }
  throw new Error("it was no error");
}

async function run(url: string, frame: string): Promise<object> {
  const configuration = new Configuration({ basePath: url });
  const instances = new InstancesApi(configuration);
  const episodes = new EpisodesApi(configuration);
  const spaces = new SpacesApi(configuration);
  const batches = new BatchesApi(configuration);

  const created = await instances.createEnv({
    createEnvRequest: { envId: "CartPole-v1", library: CreateEnvRequestLibraryEnum.Gymnasium },
  });
  const instanceId = created.instanceId;
  match(instanceId, /^[0-9a-f]{8}$/);
  equal((await instances.listEnvs()).envs[instanceId], "CartPole-v1");

  const actions = (await spaces.getActionSpace({ instanceId })).info;
  const observations = (await spaces.getObservationSpace({ instanceId })).info;
  equal([actions.name, actions.n, actions.low], ["Discrete", 2, undefined]);
  equal([observations.name, observations.shape], ["Box", [4]]);

  const first: number[] = (await episodes.resetEnv({ instanceId, resetRequest: { seed: 42 } })).observation;
  equal((await episodes.resetEnv({ instanceId, resetRequest: { seed: 42 } })).observation, first);
  equal(first.map((number) => typeof number), Array(4).fill("number"));

  let [observation, total, ended] = [first, 0, 0];
  for (let i = 0; i < 200; i++) {
    const step = await episodes.stepEnv({ instanceId, stepRequest: { action: observation[2] > 0 ? 1 : 0 } });
    equal(step.done, step.terminated || step.truncated);
    equal(step.info, {});
    observation = step.observation;
    total += step.reward!;
    if (step.done) {
      observation = (await episodes.resetEnv({ instanceId })).observation;
      ended += 1;
    }
  }

  const lanes = { createEnvRequest: { envId: "CartPole-v1", numEnvs: 8 }, idempotencyKey: `batch-of-${instanceId}` };
  const batch = (await instances.createEnv(lanes)).instanceId;
  equal((await instances.createEnv(lanes)).instanceId, batch);
  const batchFirst: number[][] = (await batches.resetBatch({ instanceId: batch, batchResetRequest: { seed: 7 } })).observations;
  const stepped = await batches.stepBatch({ instanceId: batch, batchStepRequest: { actions: [0, 1, 0, 1, 0, 1, 0, 1] } });
  equal(stepped.observations.map((lane: number[]) => lane.length), Array(8).fill(4));
  equal(stepped.rewards, Array(8).fill(1));
  equal([stepped.terminated, stepped.truncated], [Array(8).fill(false), Array(8).fill(false)]);

  const picture = await episodes.renderEnv({ instanceId });
  equal(picture.type, "image/png");
  const bytes = Buffer.from(await picture.arrayBuffer());
  equal([...bytes.subarray(0, 8)], [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  equal([bytes.readUInt32BE(16), bytes.readUInt32BE(20)], [600, 400]);
  writeFileSync(frame, bytes);

  const problem = await problemOf(episodes.stepEnv({ instanceId, stepRequest: { action: 2 } }));
  equal([problem.status, problem.type], [400, "urn:gym-http-server:problem:invalid-action"]);

  for (const each of [instanceId, batch]) equal(await instances.closeEnv({ instanceId: each }), {});
  const gone = await problemOf(instances.getEnv({ instanceId }));
  match(gone.detail, new RegExp(instanceId));

  return {
    env_id: created.envId,
    library: created.library,
    action_space: [actions.name, actions.n],
    observation_space: [observations.name, observations.shape, observations.low, observations.high],
    first,
    last: observation,
    total_reward: total,
    episodes: ended,
    batch_first: batchFirst,
    batch_last: stepped.observations,
    problem: [problem.type, problem.title, problem.status, problem.detail],
    gone: [gone.type, gone.title, gone.status],
  };
}

run(process.argv[2], process.argv[3]).then((told) => console.log(JSON.stringify(told)));
