"""A worker without torch: does what the options of its job say, as often and as fast as they say."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


def end_with_parent() -> None:
    while sys.stdin.readline():
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> int:
    line = sys.stdin.readline()
    if not line:
        return 2
    threading.Thread(target=end_with_parent, daemon=True).start()
    job = json.loads(line)
    options = job["options"]
    if "child" in options:
        # What a stage starts goes with it.
        child = subprocess.Popen(["sleep", "60"])
        Path(options["child"]).write_text(str(child.pid))
    if "pid" in options:
        Path(options["pid"]).write_text(str(os.getpid()))
    news = Path(job.get("work", ".")) / "stages" / f"{job['name']}.json"
    for number in range(options.get("writes", 0)):
        # As advdpnp.runs.write_json does.
        news.parent.mkdir(parents=True, exist_ok=True)
        part = news.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps({"writes": list(range(number + 1))}))
        part.replace(news)
        time.sleep(options.get("pause", 0.0))
    time.sleep(options.get("sleep", 0.0))
    print(options.get("say", ""), flush=True)
    if "signal" in options:
        os.kill(os.getpid(), options["signal"])
    return options.get("status", 0)


if __name__ == "__main__":
    raise SystemExit(main())
