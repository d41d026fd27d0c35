// A session of the client generated for Rust: `session URL FRAME.png`, which prints what it was told as JSON.
use std::error::Error;

use openapi::apis::configuration::Configuration;
use openapi::apis::episodes_api::StepEnvError;
use openapi::apis::instances_api::GetEnvError;
use openapi::apis::{batches_api, episodes_api, instances_api, spaces_api, Error as ApiError};
use openapi::models::create_env_request::Library;
use openapi::models::{BatchResetRequest, BatchStepRequest, CreateEnvRequest, Problem, ResetRequest, StepRequest};
use serde_json::{json, Value};

/// The status of an error, and what the client has read of it.
fn entity<E: std::fmt::Debug>(error: ApiError<E>) -> (u16, E) {
    match error {
        ApiError::ResponseError(content) => (content.status.as_u16(), content.entity.expect("it was no problem")),
        other => panic!("it was no error of the API: {other:?}"),
    }
}

fn checked(status: u16, problem: Problem) -> Problem {
    assert_eq!(problem.status, i32::from(status));
    assert_eq!(problem.detail, problem.message);
    problem
}

fn lane_of_numbers(observation: &Value) -> &Vec<Value> {
    observation.as_array().expect("it was no list")
}

async fn run(url: &str, frame: &str) -> Result<Value, Box<dyn Error>> {
    let server = Configuration { base_path: url.to_string(), ..Configuration::default() };
    let reset = |seed| Some(ResetRequest { seed: Some(Some(seed)), ..ResetRequest::new() });

    let request = CreateEnvRequest { library: Some(Library::Gymnasium), ..CreateEnvRequest::new("CartPole-v1".into()) };
    let created = instances_api::create_env(&server, request, None).await?;
    let env = created.instance_id.as_str();
    assert_eq!(instances_api::list_envs(&server).await?.envs[env], "CartPole-v1");

    let actions = spaces_api::get_action_space(&server, env).await?.info;
    let observations = spaces_api::get_observation_space(&server, env).await?.info;
    assert_eq!((actions.name.as_str(), actions.n, &actions.low), ("Discrete", Some(2), &None));
    assert_eq!((observations.name.as_str(), &observations.shape), ("Box", &Some(vec![4])));

    let first = episodes_api::reset_env(&server, env, None, None, reset(42)).await?.observation.unwrap();
    assert_eq!(episodes_api::reset_env(&server, env, None, None, reset(42)).await?.observation.as_ref(), Some(&first));
    assert_eq!(lane_of_numbers(&first).len(), 4);

    let (mut observation, mut total, mut ended) = (first.clone(), 0.0, 0);
    for _ in 0..200 {
        let action = i32::from(observation[2].as_f64().unwrap() > 0.0);
        let step = episodes_api::step_env(&server, env, StepRequest::new(Some(json!(action))), None, None).await?;
        assert_eq!(step.done, step.terminated || step.truncated);
        assert!(step.info.is_empty());
        observation = step.observation.unwrap();
        total += step.reward.unwrap();
        if step.done {
            observation = episodes_api::reset_env(&server, env, None, None, None).await?.observation.unwrap();
            ended += 1;
        }
    }

    let lanes = CreateEnvRequest { num_envs: Some(Some(8)), ..CreateEnvRequest::new("CartPole-v1".into()) };
    let key = format!("batch-of-{env}");
    let batch = instances_api::create_env(&server, lanes.clone(), Some(&key)).await?.instance_id;
    assert_eq!(instances_api::create_env(&server, lanes, Some(&key)).await?.instance_id, batch);
    let seeded = BatchResetRequest { seed: Some(Some(7)), ..BatchResetRequest::new() };
    let batch_first = batches_api::reset_batch(&server, &batch, None, None, Some(seeded)).await?.observations.unwrap();
    let batch_actions = BatchStepRequest::new(Some(json!([0, 1, 0, 1, 0, 1, 0, 1])));
    let stepped = batches_api::step_batch(&server, &batch, batch_actions, None, None).await?;
    let batch_last = stepped.observations.unwrap();
    assert!(lane_of_numbers(&batch_last).iter().all(|lane| lane_of_numbers(lane).len() == 4));
    assert_eq!(stepped.rewards, vec![1.0; 8]);
    assert_eq!((stepped.terminated, stepped.truncated), (vec![false; 8], vec![false; 8]));

    let picture = episodes_api::render_env(&server, env, None, None).await?.bytes().await?;
    assert_eq!(&picture[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(picture[16..24], [600u32.to_be_bytes(), 400u32.to_be_bytes()].concat());
    std::fs::write(frame, &picture)?;

    let refused = episodes_api::step_env(&server, env, StepRequest::new(Some(json!(2))), None, None).await.unwrap_err();
    let (status, StepEnvError::Status400(problem)) = entity(refused) else { panic!("it was no 400") };
    let problem = checked(status, problem);

    for instance in [env, &batch] {
        assert!(instances_api::close_env(&server, instance, None).await?.is_empty());
    }
    let unknown = instances_api::get_env(&server, env).await.unwrap_err();
    let (status, GetEnvError::Status400(gone)) = entity(unknown) else { panic!("it was no 400") };
    let gone = checked(status, gone);
    assert!(gone.detail.contains(env));

    Ok(json!({
        "env_id": created.env_id,
        "library": created.library,
        "action_space": [actions.name, actions.n],
        "observation_space": [json!(observations.name), json!(observations.shape), json!(observations.low), json!(observations.high)],
        "first": first,
        "last": observation,
        "total_reward": total,
        "episodes": ended,
        "batch_first": batch_first,
        "batch_last": batch_last,
        "problem": [json!(problem.r#type), json!(problem.title), json!(problem.status), json!(problem.detail)],
        "gone": [json!(gone.r#type), json!(gone.title), json!(gone.status)],
    }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    println!("{}", run(&arguments[1], &arguments[2]).await?);
    Ok(())
}
