# Two episodes and an error by the client generated for Ruby: `episodes.rb URL`, which prints what it was told as JSON.

require 'openapi_client'
require 'uri'

address = URI(ARGV[0])
OpenapiClient.configure do |configuration|
  configuration.scheme = address.scheme
  configuration.host = "#{address.host}:#{address.port}"
end
instances = OpenapiClient::InstancesApi.new
episodes = OpenapiClient::EpisodesApi.new

created = instances.create_env(OpenapiClient::CreateEnvRequest.new(env_id: 'CartPole-v1'))
env = created.instance_id
played = [1, 2].map do |seed|
  observation = episodes.reset_env(env, reset_request: OpenapiClient::ResetRequest.new(seed: seed)).observation
  steps = 0
  total = 0.0
  loop do
    step = episodes.step_env(env, OpenapiClient::StepRequest.new(action: observation[2].positive? ? 1 : 0))
    observation = step.observation
    steps += 1
    total += step.reward
    break if step.done
  end
  [steps, total, observation]
end
problem =
  begin
    episodes.step_env(env, OpenapiClient::StepRequest.new(action: 2))
    abort 'it was no error'
  rescue OpenapiClient::ApiError => e
    told = OpenapiClient::Problem.build_from_hash(JSON.parse(e.response_body, symbolize_names: true))
    [e.code, told.type, told.detail]
  end
instances.close_env(env)
puts JSON.generate({ env_id: created.env_id, episodes: played, problem: problem })
