// Two episodes and an error by the client generated for JavaScript: `episodes.js URL`, which prints what it was told as JSON.

const gym = require("./client.js");

async function main() {
  const server = new gym.ApiClient(process.argv[2]);
  const [instances, episodes] = [new gym.InstancesApi(server), new gym.EpisodesApi(server)];

  const created = await instances.createEnv(new gym.CreateEnvRequest("CartPole-v1"));
  const env = created.instance_id;
  const played = [];
  for (const seed of [1, 2]) {
    const resetRequest = gym.ResetRequest.constructFromObject({ seed });
    let { observation } = await episodes.resetEnv(env, { resetRequest });
    let [steps, total, done] = [0, 0, false];
    while (!done) {
      const step = await episodes.stepEnv(env, new gym.StepRequest(observation[2] > 0 ? 1 : 0));
      ({ observation, done } = step);
      [steps, total] = [steps + 1, total + step.reward];
    }
    played.push([steps, total, observation]);
  }
  const error = await episodes.stepEnv(env, new gym.StepRequest(2)).then(
    () => { throw new Error("it was no error"); },
    (error) => error,
  );
  const problem = gym.Problem.constructFromObject(error.body);
  await instances.closeEnv(env);
  const told = [error.status, problem.type, problem.detail];
  console.log(JSON.stringify({ env_id: created.env_id, episodes: played, problem: told }));
}
main();
