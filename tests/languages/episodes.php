<?php
// Two episodes and an error by the client generated for PHP: `episodes.php URL`, which prints what it was told as JSON.

use OpenAPI\Client as Gym;

error_reporting(E_ALL);
set_error_handler(function (int $level, string $message) {
    throw new ErrorException($message, 0, $level);
});
require 'GuzzleHttp/autoload.php';
require 'GuzzleHttp/Psr7/autoload.php';
spl_autoload_register(function (string $class) {
    // As the client's composer.json says.
    $file = 'client/lib' . str_replace('\\', '/', substr($class, strlen('OpenAPI\Client'))) . '.php';
    if (str_starts_with($class, 'OpenAPI\Client\\') && is_file($file)) {
        require $file;
    }
});

$server = (new Gym\Configuration())->setHost($argv[1]);
$instances = new Gym\Api\InstancesApi(config: $server);
$episodes = new Gym\Api\EpisodesApi(config: $server);

$created = $instances->createEnv(new Gym\Model\CreateEnvRequest(['env_id' => 'CartPole-v1']));
$env = $created->getInstanceId();
$played = [];
foreach ([1, 2] as $seed) {
    $request = new Gym\Model\ResetRequest(['seed' => $seed]);
    $observation = $episodes->resetEnv($env, reset_request: $request)->getObservation();
    [$steps, $total] = [0, 0.0];
    do {
        $step = $episodes->stepEnv($env, new Gym\Model\StepRequest(['action' => $observation[2] > 0 ? 1 : 0]));
        $observation = $step->getObservation();
        $steps += 1;
        $total += $step->getReward();
    } while (!$step->getDone());
    $played[] = [$steps, $total, $observation];
}
try {
    $episodes->stepEnv($env, new Gym\Model\StepRequest(['action' => 2]));
    exit('it was no error');
} catch (Gym\ApiException $error) {
    $told = $error->getResponseObject();
    $problem = [$error->getCode(), $told->getType(), $told->getDetail()];
}
$instances->closeEnv($env);
echo json_encode(['env_id' => $created->getEnvId(), 'episodes' => $played, 'problem' => $problem]);
