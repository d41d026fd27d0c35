// A session of the client generated for Go: `session URL FRAME.png`, which prints what it was told as JSON.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"

	gym "github.com/you/gym"
)

func require(condition bool, format string, values ...interface{}) {
	if !condition {
		panic(fmt.Sprintf(format, values...))
	}
}

func equal(got, wanted interface{}) {
	require(reflect.DeepEqual(got, wanted), "%#v is not %#v", got, wanted)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// problem returns the problem details of an error, which the client has read into their model.
func problem(err error) gym.Problem {
	var failure *gym.GenericOpenAPIError
	require(errors.As(err, &failure), "it was no error of the API: %v", err)
	read, ok := failure.Model().(gym.Problem)
	require(ok, "%#v is no Problem", failure.Model())
	equal(read.Detail, read.Message)
	return read
}

func main() {
	ctx := context.Background()
	configuration := gym.NewConfiguration()
	configuration.Servers[0].URL = os.Args[1]
	client := gym.NewAPIClient(configuration)

	request := gym.NewCreateEnvRequest("CartPole-v1")
	request.SetLibrary("gymnasium")
	created, _, err := client.InstancesAPI.CreateEnv(ctx).CreateEnvRequest(*request).Execute()
	check(err)
	env := created.InstanceId
	require(regexp.MustCompile("^[0-9a-f]{8}$").MatchString(env), "%q is no id", env)
	list, _, err := client.InstancesAPI.ListEnvs(ctx).Execute()
	check(err)
	equal(list.Envs[env], "CartPole-v1")

	actionSpace, _, err := client.SpacesAPI.GetActionSpace(ctx, env).Execute()
	check(err)
	actions := actionSpace.Info
	equal([]interface{}{actions.Name, actions.GetN(), actions.HasLow()}, []interface{}{"Discrete", int64(2), false})
	observationSpace, _, err := client.SpacesAPI.GetObservationSpace(ctx, env).Execute()
	check(err)
	observations := observationSpace.Info
	equal([]interface{}{observations.Name, observations.Shape}, []interface{}{"Box", []int64{4}})

	seeded := gym.NewResetRequest()
	seeded.SetSeed(42)
	reset, _, err := client.EpisodesAPI.ResetEnv(ctx, env).ResetRequest(*seeded).Execute()
	check(err)
	again, _, err := client.EpisodesAPI.ResetEnv(ctx, env).ResetRequest(*seeded).Execute()
	check(err)
	equal(again.Observation, reset.Observation)
	first := reset.Observation.([]interface{})
	equal(len(first), 4)

	observation, total, ended := first, 0.0, 0
	for i := 0; i < 200; i++ {
		action := 0
		if observation[2].(float64) > 0 {
			action = 1
		}
		step, _, err := client.EpisodesAPI.StepEnv(ctx, env).StepRequest(*gym.NewStepRequest(action)).Execute()
		check(err)
		equal(step.Done, step.Terminated || step.Truncated)
		equal(step.Info, map[string]interface{}{})
		observation = step.Observation.([]interface{})
		total += *step.Reward.Get()
		if step.Done {
			reset, _, err := client.EpisodesAPI.ResetEnv(ctx, env).Execute()
			check(err)
			observation = reset.Observation.([]interface{})
			ended++
		}
	}

	lanes := gym.NewCreateEnvRequest("CartPole-v1")
	lanes.SetNumEnvs(8)
	creation := client.InstancesAPI.CreateEnv(ctx).CreateEnvRequest(*lanes).IdempotencyKey("batch-of-" + env)
	batch, _, err := creation.Execute()
	check(err)
	repeated, _, err := creation.Execute()
	check(err)
	equal(repeated, batch)
	seededBatch := gym.NewBatchResetRequest()
	seededBatch.SetSeed(7)
	batchFirst, _, err := client.BatchesAPI.ResetBatch(ctx, batch.InstanceId).BatchResetRequest(*seededBatch).Execute()
	check(err)
	batchActions := gym.NewBatchStepRequest([]int{0, 1, 0, 1, 0, 1, 0, 1})
	stepped, _, err := client.BatchesAPI.StepBatch(ctx, batch.InstanceId).BatchStepRequest(*batchActions).Execute()
	check(err)
	equal(len(stepped.Observations.([]interface{})), 8)
	for lane, each := range stepped.Observations.([]interface{}) {
		equal(len(each.([]interface{})), 4)
		equal(*stepped.Rewards[lane], 1.0)
	}
	equal([][]bool{stepped.Terminated, stepped.Truncated}, [][]bool{make([]bool, 8), make([]bool, 8)})

	file, _, err := client.EpisodesAPI.RenderEnv(ctx, env).Execute()
	check(err)
	picture, err := io.ReadAll(file)
	check(err)
	check(file.Close())
	check(os.Remove(file.Name()))
	require(bytes.HasPrefix(picture, []byte("\x89PNG\r\n\x1a\n")), "it is no PNG")
	equal(binary.BigEndian.Uint32(picture[16:]), uint32(600))
	equal(binary.BigEndian.Uint32(picture[20:]), uint32(400))
	check(os.WriteFile(os.Args[2], picture, 0o600))

	_, response, err := client.EpisodesAPI.StepEnv(ctx, env).StepRequest(*gym.NewStepRequest(2)).Execute()
	refused := problem(err)
	equal(int(refused.Status), response.StatusCode)
	equal(refused.Type, "urn:gym-http-server:problem:invalid-action")

	for _, each := range []string{env, batch.InstanceId} {
		nothing, _, err := client.InstancesAPI.CloseEnv(ctx, each).Execute()
		check(err)
		equal(nothing, map[string]interface{}{})
	}
	_, _, err = client.InstancesAPI.GetEnv(ctx, env).Execute()
	gone := problem(err)
	require(strings.Contains(gone.Detail, env), "%q does not name the instance", gone.Detail)

	check(json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"env_id":       created.EnvId,
		"library":      created.Library,
		"action_space": []interface{}{actions.Name, actions.GetN()},
		"observation_space": []interface{}{
			observations.Name, observations.Shape, observations.Low, observations.High,
		},
		"first":        first,
		"last":         observation,
		"total_reward": total,
		"episodes":     ended,
		"batch_first":  batchFirst.Observations,
		"batch_last":   stepped.Observations,
		"problem":      []interface{}{refused.Type, refused.Title, refused.Status, refused.Detail},
		"gone":         []interface{}{gone.Type, gone.Title, gone.Status},
	}))
}
