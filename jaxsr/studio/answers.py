"""What a client is told: a job with its results, the address of a view's tiles, and the name of a download."""

from typing import Any
from urllib.parse import quote

from jaxsr.studio.making import Pictures
from jaxsr.studio.views import View
from jaxsr.studio.worker import JobState, Worker


def describe_job(worker: Worker, job: JobState) -> dict[str, Any]:
    """Describe a job as plain JSON, once it is done with all its results."""
    eta = job.eta
    facts: dict[str, Any] = {
        "id": job.id,
        "state": job.state,
        "before": worker.place(job) if job.state == "waiting" else 0,
        "tiles": [job.done, job.total],
        "seconds": round(job.seconds, 2),
        "eta": None if eta is None else round(eta, 1),
        "error": job.error,
    }
    if job.state == "done":
        made: Pictures = job.result
        place = f"/api/jobs/{job.id}/results"
        facts["warnings"] = made.warnings
        facts["results"] = [
            {
                "name": picture.name,
                "view": describe_view(picture.view, "jobs", job.id, str(i)),
                "picture": f"{place}/{i}/picture",
                "sidecar": f"{place}/{i}/sidecar",
                "command": picture.command,
                **picture.facts,
            }
            for i, picture in enumerate(made.pictures)
        ]
        if made.spread is not None:
            view, mean = made.spread
            address = f"/api/jobs/{job.id}/disagreement"
            shown = {"view": describe_view(view, "jobs", job.id, "disagreement"), "mean": round(mean, 3)}
            facts["disagreement"] = shown | {"picture": address}
    return facts


def describe_view(view: View, kind: str, key: str, which: str) -> dict[str, Any]:
    """Describe a view with the address of its tiles, to which level, row and column are added."""
    return view.describe() | {"tiles": f"/api/views/{kind}/{key}/{which}"}


def as_file(name: str) -> dict[str, str]:
    """Return the header that names a download."""
    plain = name.encode("ascii", "replace").decode().replace('"', "_").replace("?", "_").replace("\\", "_")
    return {"content-disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"}
