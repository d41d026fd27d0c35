# Two episodes and an error by the client generated for Bash: `episodes.sh URL`, which prints what it was told as JSON.

client() { bash client/client.sh --host "$url" --content-type json --silent "$@"; }

url=$1
created=$(client createEnv env_id==CartPole-v1)
env=$(jq --raw-output .instance_id <<<"$created")
played=()
for seed in 1 2; do
  reply=$(client resetEnv "instance_id=$env" "seed:=$seed")
  steps=0 total=0 is_done=false
  while [[ $is_done == false ]]; do
    action=$(jq 'if .observation[2] > 0 then 1 else 0 end' <<<"$reply")
    reply=$(client stepEnv "instance_id=$env" "action:=$action")
    read -r steps total is_done < <(jq --raw-output "[$steps + 1, $total + .reward, .done] | @tsv" <<<"$reply")
  done
  played+=("$(jq "[$steps, $total, .observation]" <<<"$reply")")
done
problem=$(client stepEnv "instance_id=$env" action:=2)
client closeEnv "instance_id=$env" >/dev/null
jq --slurp --argjson created "$created" --argjson problem "$problem" \
  '{env_id: $created.env_id, episodes: ., problem: ($problem | [.status, .type, .detail])}' <<<"${played[@]}"
