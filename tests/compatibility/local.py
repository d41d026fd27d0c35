"""What an environment does in its package's own Python, as plain data: `python local.py JSON PATH`.

Standard library and numpy only, valid Python 3.7, because it runs there. `plain` is the form of values in that data.
"""

import base64
import contextlib
import importlib
import inspect
import json
import sys
from pathlib import Path

import numpy as np

SEED = 3
LANES = 3


def plain(value):
    """Return a value as JSON has it, arrays and NumPy's numbers with their bytes."""
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind not in "OUSV":
        array = np.ascontiguousarray(value)
        data = base64.b64encode(array.tobytes()).decode()
        return {"dtype": array.dtype.str, "shape": list(np.shape(value)), "data": data}
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {"items": sorted(([str(key), plain(each)] for key, each in value.items()), key=lambda item: item[0])}
    if isinstance(value, (list, tuple)):
        return {"list": [plain(each) for each in value]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    return {"value": str(value)}


def is_over(terminated, truncated):
    """Return whether an episode has ended; of several agents, when all have left."""
    if isinstance(terminated, dict):
        return all(terminated[agent] or truncated[agent] for agent in terminated)
    return bool(terminated or truncated)


class Local:
    """An environment of any library, with Gymnasium's interface.

    Args:
        row: id, library, keyword arguments and imports.
        mode: its render mode.
    """

    def __init__(self, row, mode=None):
        self.row, self.mode = row, mode
        self.env = self._make(dict(row["kwargs"], **({} if mode is None else {"render_mode": mode})))
        self.is_old = is_old(self.env)
        if self.is_old and hasattr(self.env.unwrapped, "reset") and not has_old_wrappers():
            self.env = self.env.unwrapped  # the library's wrappers would call it as a new one
        self.agents = getattr(self.env, "possible_agents", None)
        self.modes = (getattr(self.env, "metadata", None) or {}).get("render_modes", [])
        if self.is_old:
            self.modes = (self.env.metadata or {}).get("render.modes", ["rgb_array"])

    def _make(self, kwargs):
        library, env_id = self.row["library"], self.row["id"]
        if library == "envpool":
            # It seeds when a pool is made.
            import envpool

            self.pool = lambda seed: envpool.make(env_id, "gymnasium", num_envs=1, seed=seed, **kwargs)
            return self.pool(SEED)
        if library == "stable-retro":
            import stable_retro

            return stable_retro.make(env_id, **dict({"render_mode": "rgb_array"}, **kwargs))
        if library == "pettingzoo":
            from pettingzoo.utils import conversions

            family, _, name = env_id.partition("/")
            module = importlib.import_module(("mpe2." if family == "mpe" else "pettingzoo." + family + ".") + name)
            if hasattr(module, "parallel_env"):
                return module.parallel_env(**kwargs)
            return conversions.turn_based_aec_to_parallel(module.env(**kwargs))
        if library == "gym" or not has_gymnasium(env_id):
            import gym

            if not has_old_wrappers():
                kwargs["disable_env_checker"] = True  # it knows no NumPy 2
            try:
                return gym.make(env_id, **kwargs)
            except TypeError:
                kwargs.pop("render_mode", None)
                return gym.make(env_id, **kwargs)
        import gymnasium

        return gymnasium.make(env_id, **kwargs)

    def sample(self):
        """Return an action."""
        if self.agents is not None:
            return {agent: self.env.action_space(agent).sample() for agent in self.agents}
        return self.env.action_space.sample()

    def seed_actions(self, seed):
        """Seed what samples actions."""
        for space in [self.env.action_space] if self.agents is None else map(self.env.action_space, self.agents):
            space.seed(seed)

    def reset(self, seed):
        """Start an episode; return its first observation."""
        if self.row["library"] == "envpool":
            self.env = self.pool(seed)
            return self.env.reset()[0][0]
        if self.is_old:
            method = getattr(self.env.unwrapped, "seed", None)
            if method is not None and inspect.signature(method).parameters:
                self.env.seed(seed)
            return self.env.reset()
        return self.env.reset(seed=seed)[0]

    def step(self, action):
        """Return observation, reward, terminated and truncated."""
        if self.row["library"] == "envpool":
            observation, reward, terminated, truncated, _ = self.env.step(np.asarray(action)[None])
            return observation[0], reward[0], bool(terminated[0]), bool(truncated[0])
        if self.agents is not None:
            action = {agent: action[agent] for agent in self.env.agents}
        values = self.env.step(action)
        if len(values) == 4:
            observation, reward, done, info = values
            truncated = bool(info.get("TimeLimit.truncated", False))
            return observation, reward, False if truncated else done, truncated
        return values[:4]

    def render(self):
        """Return a frame, or None where it has no mode that gives one."""
        if self.mode is None:
            return None
        if self.row["library"] == "envpool":
            return self.env.render()[0]
        takes_mode = "mode" in inspect.signature(self.env.unwrapped.render).parameters
        return self.env.render(mode=self.mode) if self.is_old and takes_mode else self.env.render()

    def close(self):
        """Close it."""
        self.env.close()


def has_old_wrappers():
    """Return whether the gym here is one before 0.26."""
    gym = sys.modules.get("gym")
    return gym is not None and gym.__version__ < "0.26"


def is_old(env):
    """Return whether an environment has the interface of gym before 0.26."""
    gym = sys.modules.get("gym")
    if gym is None or not isinstance(env, gym.Env):
        return False
    parameters = inspect.signature(env.unwrapped.reset).parameters.values()
    return not any(each.name == "seed" or each.kind is each.VAR_KEYWORD for each in parameters)


def has_gymnasium(env_id):
    """Return whether Gymnasium is installed and registers an id."""
    try:
        import gymnasium
    except ImportError:
        return False
    return env_id in gymnasium.registry or env_id.startswith("dm_control/")


def episode(row, env):
    """Return the first observation and the steps of an environment, each with the observation of the reset after it."""
    begun = plain(env.reset(SEED))
    env.seed_actions(SEED)
    steps = []
    for number in range(row["steps"]):
        action = env.sample()
        observation, reward, terminated, truncated = env.step(action)
        again = plain(env.reset(number)) if is_over(terminated, truncated) else None
        values = [plain(each) for each in (observation, reward, terminated, truncated)]
        steps.append({"action": plain(action), "values": values, "again": again})
    return {"observation": begun, "steps": steps}


def lane(row, mode, number):
    """Return what a lane of a batch is to do: the first observation, and that and the reward of one step."""
    env = Local(row, mode)
    try:
        begun = plain(env.reset(SEED + number))
        env.seed_actions(SEED)
        action = env.sample()
        return {"observation": begun, "action": plain(action), "values": [plain(each) for each in env.step(action)[:2]]}
    finally:
        env.close()


def checked(row, mode):
    """Return what Gymnasium's `check_env` says of the environment."""
    if row["library"] != "auto" or not has_gymnasium(row["id"]):
        return ""
    from gymnasium.utils.env_checker import check_env

    env = Local(row, mode)
    try:
        check_env(env.env.unwrapped, skip_render_check=True)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is told
        return type(error).__name__ + ": " + str(error)
    finally:
        env.close()
    return "passed"


def batched(row, mode):
    """Return what Gymnasium's own batch raises, or ""."""
    if row["library"] != "auto" or not has_gymnasium(row["id"]):
        return ""
    import gymnasium

    if not hasattr(gymnasium, "make_vec"):
        return ""
    kwargs = dict(row["kwargs"], **({} if mode is None else {"render_mode": mode}))
    try:
        gymnasium.make_vec(row["id"], LANES, vectorization_mode="sync", **kwargs).close()
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is told
        return type(error).__name__ + ": " + str(error)
    return ""


def versions():
    """Return the versions of Python and of the libraries here."""
    found = {"python": sys.version.split()[0], "numpy": np.__version__}
    for name in ("gymnasium", "gym"):
        with contextlib.suppress(ImportError):
            found[name] = importlib.import_module(name).__version__
    return found


def main(row):
    """Return everything of a row."""
    for source in row["imports"]:
        module, _, function = source.partition(":")
        imported = importlib.import_module(module)
        if function:
            getattr(imported, function)()
    env = Local(row)
    mode = next((each for each in ("rgb_array", "ansi") if each in env.modes), None)
    env.close()
    try:
        env = Local(row, mode)
    except TypeError:  # it declares a mode that its constructor does not take
        mode = None
        env = Local(row)
    document = episode(row, env)
    document["mode"] = mode
    try:
        document["frame"] = plain(env.render())
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is told
        document["frame_error"] = type(error).__name__ + ": " + str(error)
    env.close()
    document["lanes"] = [lane(row, mode, number) for number in range(LANES)]
    document["check_env"] = checked(row, mode)
    document["batch"] = batched(row, mode)
    document["versions"] = versions()
    return document


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(sys.argv[1]))))
