# Two episodes and an error by the client generated for R: `episodes.R URL`, which prints what it was told as JSON.

library(openapi, lib.loc = "library")

# What the client takes for the class of a value that may be anything.
object <- R6::R6Class("object", public = list(
  value = NULL,
  fromJSON = function(json) self$value <- jsonlite::fromJSON(json)
))

client <- ApiClient$new(base_path = commandArgs(trailingOnly = TRUE)[1])
instances <- InstancesApi$new(client)
episodes <- EpisodesApi$new(client)

created <- instances$CreateEnv(CreateEnvRequest$new(env_id = "CartPole-v1"))
env <- created$instance_id
played <- list()
for (seed in 1:2) {
  observation <- episodes$ResetEnv(env, reset_request = ResetRequest$new(seed = seed))$observation
  steps <- 0
  total <- 0
  repeat {
    step <- episodes$StepEnv(env, StepRequest$new(action = as.integer(observation[3] > 0)))
    observation <- step$observation
    steps <- steps + 1
    total <- total + step$reward
    if (step$done) break
  }
  played[[seed]] <- list(steps, total, observation)
}
# An error is what the call returns, beside its reply.
refused <- episodes$StepEnv(env, StepRequest$new(action = 2))
problem <- Problem$new()$fromJSON(refused$response$response_as_text())
invisible(instances$CloseEnv(env))
cat(jsonlite::toJSON(
  list(env_id = created$env_id, episodes = played, problem = list(refused$status_code, problem$type, problem$detail)),
  auto_unbox = TRUE, digits = NA
))
