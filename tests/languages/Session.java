// A session of the client generated for Java: `Session URL FRAME.png`, which prints what it was told as JSON.
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.BatchesApi;
import org.openapitools.client.api.EpisodesApi;
import org.openapitools.client.api.InstancesApi;
import org.openapitools.client.api.SpacesApi;
import org.openapitools.client.model.BatchResetRequest;
import org.openapitools.client.model.BatchStepReply;
import org.openapitools.client.model.BatchStepRequest;
import org.openapitools.client.model.CreateEnvRequest;
import org.openapitools.client.model.EnvCreated;
import org.openapitools.client.model.Problem;
import org.openapitools.client.model.ResetRequest;
import org.openapitools.client.model.Space;
import org.openapitools.client.model.StepReply;
import org.openapitools.client.model.StepRequest;

public class Session {
  interface Call {
    Object run() throws ApiException;
  }

  static void require(boolean condition, Object told) {
    if (!condition) {
      throw new AssertionError(told);
    }
  }

  static void equal(Object got, Object wanted) {
    require(Objects.equals(got, wanted), got + " is not " + wanted);
  }

  /** The problem details that a call is answered with, read into their model. */
  static Problem problemOf(ApiClient client, Call call) throws Exception {
    try {
      call.run();
    } catch (ApiException error) {
      Problem problem = client.getObjectMapper().readValue(error.getResponseBody(), Problem.class);
      equal(problem.getStatus(), error.getCode());
      equal(problem.getDetail(), problem.getMessage());
      return problem;
    }
    throw new AssertionError("it was no error");
  }

  @SuppressWarnings("unchecked")
  static List<Double> numbers(Object observation) {
    return (List<Double>) observation;
  }

  public static void main(String[] arguments) throws Exception {
    ApiClient client = new ApiClient();
    client.updateBaseUri(arguments[0]);
    InstancesApi instances = new InstancesApi(client);
    EpisodesApi episodes = new EpisodesApi(client);
    SpacesApi spaces = new SpacesApi(client);
    BatchesApi batches = new BatchesApi(client);

    EnvCreated created =
        instances.createEnv(
            new CreateEnvRequest().envId("CartPole-v1").library(CreateEnvRequest.LibraryEnum.GYMNASIUM), null);
    String env = created.getInstanceId();
    require(env.matches("[0-9a-f]{8}"), env);
    equal(instances.listEnvs().getEnvs().get(env), "CartPole-v1");

    Space actions = spaces.getActionSpace(env).getInfo();
    Space observations = spaces.getObservationSpace(env).getInfo();
    equal(List.of(actions.getName(), actions.getN()), List.of("Discrete", 2L));
    equal(List.of(observations.getName(), observations.getShape()), List.of("Box", List.of(4L)));

    List<Double> first = numbers(episodes.resetEnv(env, null, null, new ResetRequest().seed(42L)).getObservation());
    equal(episodes.resetEnv(env, null, null, new ResetRequest().seed(42L)).getObservation(), first);
    equal(first.size(), 4);

    List<Double> observation = first;
    double total = 0;
    int ended = 0;
    for (int i = 0; i < 200; i++) {
      StepReply step = episodes.stepEnv(env, new StepRequest().action(observation.get(2) > 0 ? 1 : 0), null, null);
      equal(step.getDone(), step.getTerminated() || step.getTruncated());
      equal(step.getInfo(), Map.of());
      observation = numbers(step.getObservation());
      total += step.getReward();
      if (step.getDone()) {
        observation = numbers(episodes.resetEnv(env, null, null, null).getObservation());
        ended += 1;
      }
    }

    CreateEnvRequest lanes = new CreateEnvRequest().envId("CartPole-v1").numEnvs(8);
    String batch = instances.createEnv(lanes, "batch-of-" + env).getInstanceId();
    equal(instances.createEnv(lanes, "batch-of-" + env).getInstanceId(), batch);
    Object batchFirst = batches.resetBatch(batch, null, null, new BatchResetRequest().seed(7L)).getObservations();
    BatchStepRequest batchActions = new BatchStepRequest().actions(List.of(0, 1, 0, 1, 0, 1, 0, 1));
    BatchStepReply stepped = batches.stepBatch(batch, batchActions, null, null);
    equal(((List<?>) stepped.getObservations()).size(), 8);
    for (Object lane : (List<?>) stepped.getObservations()) {
      equal(((List<?>) lane).size(), 4);
    }
    equal(stepped.getRewards(), Collections.nCopies(8, 1.0));
    equal(stepped.getTerminated(), Collections.nCopies(8, false));
    equal(stepped.getTruncated(), Collections.nCopies(8, false));

    File file = episodes.renderEnv(env, null, null);
    byte[] picture = Files.readAllBytes(file.toPath());
    byte[] signature = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    require(Arrays.equals(Arrays.copyOf(picture, 8), signature), "it is no PNG");
    equal(List.of(ByteBuffer.wrap(picture).getInt(16), ByteBuffer.wrap(picture).getInt(20)), List.of(600, 400));
    Files.write(Path.of(arguments[1]), picture);

    Problem refused = problemOf(client, () -> episodes.stepEnv(env, new StepRequest().action(2), null, null));
    equal(List.of(refused.getStatus(), refused.getType()), List.of(400, "urn:gym-http-server:problem:invalid-action"));

    for (String each : List.of(env, batch)) {
      equal(instances.closeEnv(each, null), Map.of());
    }
    Problem gone = problemOf(client, () -> instances.getEnv(env));
    require(gone.getDetail().contains(env), gone);

    Map<String, Object> told = new LinkedHashMap<>();
    told.put("env_id", created.getEnvId());
    told.put("library", created.getLibrary());
    told.put("action_space", List.of(actions.getName(), actions.getN()));
    told.put(
        "observation_space",
        List.of(observations.getName(), observations.getShape(), observations.getLow(), observations.getHigh()));
    told.put("first", first);
    told.put("last", observation);
    told.put("total_reward", total);
    told.put("episodes", ended);
    told.put("batch_first", batchFirst);
    told.put("batch_last", stepped.getObservations());
    told.put("problem", List.of(refused.getType(), refused.getTitle(), refused.getStatus(), refused.getDetail()));
    told.put("gone", List.of(gone.getType(), gone.getTitle(), gone.getStatus()));
    System.out.println(client.getObjectMapper().writeValueAsString(told));
  }
}
