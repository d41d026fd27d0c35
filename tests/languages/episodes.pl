# Two episodes and an error by the client generated for Perl: `episodes.pl URL`, which prints what it was told as JSON.

use strict;
use warnings FATAL => 'all';
use lib 'client/lib';
use JSON qw(decode_json encode_json);
use WWW::OpenAPIClient::ApiFactory;

# What the client takes for the class of a value that may be anything.
{ package WWW::OpenAPIClient::Object::object; sub new { bless {}, shift } sub from_hash { $_[1] } }

my $models = 'WWW::OpenAPIClient::Object';
my $client = WWW::OpenAPIClient::ApiFactory->new(base_url => $ARGV[0]);
my ($instances, $episodes) = map { $client->get_api($_) } qw(Instances Episodes);

sub take {
    my ($env, $action) = @_;
    return $episodes->step_env(instance_id => $env, step_request => "${models}::StepRequest"->new(action => $action));
}

my $created = $instances->create_env(create_env_request => "${models}::CreateEnvRequest"->new(env_id => 'CartPole-v1'));
my $env = $created->instance_id;
my @played;
for my $seed (1, 2) {
    my $request = "${models}::ResetRequest"->new(seed => $seed);
    my $observation = $episodes->reset_env(instance_id => $env, reset_request => $request)->observation;
    my ($steps, $total, $done) = (0, 0, 0);
    until ($done) {
        my $step = take($env, $observation->[2] > 0 ? 1 : 0);
        ($observation, $done) = ($step->observation, $step->done);
        $total += $step->reward;
        $steps++;
    }
    push @played, [$steps, $total, $observation];
}
eval { take($env, 2) };
my ($status, $body) = $@ =~ /^API Exception\((\d+)\): [^\n]*\n(.*\}) at /s or die "it was no error: $@";
my $problem = "${models}::Problem"->new->from_hash(decode_json($body));
$instances->close_env(instance_id => $env);
print encode_json(
    {env_id => $created->env_id, episodes => \@played, problem => [$status + 0, $problem->type, $problem->detail]}
);
