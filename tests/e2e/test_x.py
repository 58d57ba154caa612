from tests.e2e.test_pools import *
from tests.support.lab.patience import patiently
def test_x(launch: Launch) -> None:
    job = launch()
    seen = [("new", job.config["created_at"])]
    job.restart(); seen.append(("restart", job.config["created_at"]))
    job.snapshot("s"); patiently(lambda: job.restore("s")); seen.append(("restored", job.config["created_at"]))
    job.patch({"config": {"user.a": "b"}}); seen.append(("patched", job.config["created_at"]))
    patiently(job.stop); job.snapshot("t"); patiently(lambda: job.restore("t")); seen.append(("restored stopped", job.config["created_at"]))
    listed = job._api.get("/1.0/instances?recursion=2") if hasattr(job._api,"get") else None
    print(seen)
    found=[e["created_at"] for e in (listed or []) if e["name"]==job.name]
    print(found)
    assert len({t for _, t in seen} | set(found))==1, seen
