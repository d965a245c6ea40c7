"""Defects, searches, and what a spot of an image is compared with."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from patchbank.inspection.judging.defects import (
    defect_to_json,
    find_defect,
    list_defects,
    remove_defects,
)
from patchbank.inspection.judging.inspect import DEFAULT_TOP
from patchbank.inspection.judging.nearest_patch import nearest_patches
from patchbank.inspection.judging.search import search
from patchbank.inspection.judging.search_results import Among
from patchbank.inspection.judging.similarity_rule import parse_threshold
from patchbank.inspection.keeping.inspected_images import image_of as kept_image
from patchbank.inspection.keeping.pages import page_of
from patchbank.inspection.sources import checked_name
from patchbank.memory.threads import on_cores
from patchbank.server.access import Engineer, Operator
from patchbank.server.addresses import address
from patchbank.server.bodies import ONE_IMAGE, image_of
from patchbank.server.models import MOST_NUMBER
from patchbank.server.models.evidence import (
    BankMap,
    Defect,
    DefectPage,
    RemovedDefects,
    SearchAnswer,
    Spot,
)
from patchbank.server.parameters import (
    DEFAULT_LIMIT,
    Before,
    CategoryName,
    InspectionNumber,
    Limit,
)
from patchbank.server.pictures import PICTURE, picture
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of
from patchbank.spelling import composed
from patchbank.store.hnsw_index import Metric

router = APIRouter(prefix="/v1", tags=["evidence"], responses=PROBLEMS)

DefectNumber = Annotated[int, Path(ge=1, le=MOST_NUMBER, description="Number of the defect.")]


@router.get("/categories/{category}/defects", response_model=DefectPage)
def defects(
    request: Request,
    caller: Operator,
    category: CategoryName,
    limit: Limit = DEFAULT_LIMIT,
    before: Before = None,
) -> dict[str, Any]:
    """List the recorded defects, the newest first."""
    found = sorted(
        (
            defect
            for defect in list_defects(service_of(request).workspace, category)
            if before is None or defect.defect_id < before
        ),
        key=lambda defect: -defect.defect_id,
    )
    return page_of(
        found[: limit + 1],
        limit,
        lambda defect: _with_thumbnail(category, defect_to_json(defect)),
        lambda defect: defect.defect_id,
    ).to_json()


@router.get("/categories/{category}/defects/thumbnail", response_class=Response, responses=PICTURE)
def defect_thumbnail(
    request: Request,
    caller: Operator,
    category: CategoryName,
    name: Annotated[
        str, Query(description="Name of the defect, as inspections have it.", min_length=1)
    ],
) -> Response:
    """Give a small picture of a recorded defect by its name."""
    defects = service_of(request).workspace.database.defects
    return picture(defects.thumbnail(category, checked_name(name)), name)


@router.get("/categories/{category}/defects/{defect_id}", response_model=Defect)
def defect(
    request: Request, caller: Operator, category: CategoryName, defect_id: DefectNumber
) -> dict[str, Any]:
    """Show a recorded defect."""
    found = find_defect(service_of(request).workspace, category, defect_id)
    return _with_thumbnail(category, defect_to_json(found))


@router.get(
    "/categories/{category}/defects/{defect_id}/thumbnail",
    response_class=Response,
    responses=PICTURE,
)
def thumbnail(
    request: Request, caller: Operator, category: CategoryName, defect_id: DefectNumber
) -> Response:
    """Give a small picture of a recorded defect."""
    workspace = service_of(request).workspace
    found = find_defect(workspace, category, defect_id)
    return picture(workspace.database.defects.thumbnail(category, found.name), found.name)


@router.delete("/categories/{category}/defects/{defect_id}", response_model=RemovedDefects)
def remove(
    request: Request, caller: Engineer, category: CategoryName, defect_id: DefectNumber
) -> dict[str, Any]:
    """Remove a recorded defect for good."""
    workspace = service_of(request).workspace
    name = find_defect(workspace, category, defect_id).name
    return {"names": remove_defects(workspace, category, [name])}


async def _options(
    among: Annotated[Among, Query(description="Which stored images to search.")] = "references",
    metric: Annotated[
        Metric, Query(description="The distance that orders the results.")
    ] = "cosine",
    threshold: Annotated[
        str,
        Query(
            max_length=40,
            description="Similarity that a good image must reach, such as 0.9; `auto`, calibrated "
            "for the bank's false-alarm rate; or `none`.",
        ),
    ] = "auto",
    top: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = DEFAULT_TOP,
    exact: Annotated[bool, Query(description="Whether to scan even if there is an index.")] = False,
    raw: Annotated[
        bool, Query(description="Compares embeddings as they are, not centred ones.")
    ] = False,
) -> dict[str, Any]:
    """Return how a request wants to search, as `search` takes it."""
    return {
        "among": among,
        "metric": metric,
        "threshold": parse_threshold(threshold),
        "top": top,
        "exact": exact,
        "raw": raw,
    }


SearchOptions = Annotated[dict[str, Any], Depends(_options)]


@router.post("/categories/{category}/search", response_model=SearchAnswer, openapi_extra=ONE_IMAGE)
async def search_image(
    request: Request,
    caller: Operator,
    category: CategoryName,
    options: SearchOptions,
) -> dict[str, Any]:
    """Find what is most similar to an image; nothing is recorded, and it is no inspection."""
    content, name = await image_of(request)
    service = service_of(request)

    def work(alone: bool) -> dict[str, Any]:
        with on_cores(alone):
            found = search(service.workspace, category, content, **options).to_json()
            return {**found, "image": name or found["image"]}

    return await service.pool.run(work)


@router.get("/categories/{category}/search", response_model=SearchAnswer)
def search_name(
    request: Request,
    caller: Operator,
    category: CategoryName,
    options: SearchOptions,
    name: Annotated[
        str,
        Query(
            min_length=1,
            max_length=2000,
            description="Name of a stored image, or of a stored patch such as `NAME#r14c03`.",
        ),
    ],
) -> dict[str, Any]:
    """Find what is most similar to a stored image or patch."""
    return search(service_of(request).workspace, category, name=name, **options).to_json()


@router.get("/categories/{category}/inspections/{inspection_id}/nearest", response_model=Spot)
async def nearest(
    request: Request,
    caller: Operator,
    category: CategoryName,
    number: InspectionNumber,
    x: Annotated[float, Query(ge=0, le=1e6, description="Of the spot, in pixels of the image.")],
    y: Annotated[float, Query(ge=0, le=1e6)],
    top: Annotated[int, Query(ge=1, le=100, description="How many patches.")] = 1,
) -> dict[str, Any]:
    """Find the patches of the bank that are nearest to a spot of an inspected image.

    The image must have been kept, or be one of the last that this service judged; the version of
    the bank is the one that judged.
    """
    service = service_of(request)

    def work(alone: bool) -> dict[str, Any]:
        inspection = service.workspace.database.inspections.get(category, number)
        recent = service.recent.find(composed(category), number)
        content = kept_image(service.workspace, inspection) if recent is None else recent.source
        assert content is not None
        bank = service.inspectors.that_judged(category, inspection)
        with on_cores(alone):
            return nearest_patches(
                service.workspace, bank, content, inspection.image_name, x, y, top=top
            )

    found = await service.pool.run(work)
    for patch in found["nearest"]:
        image = patch["image"]
        patch["thumbnail"] = image and address(category, "references", "thumbnail", name=image)
    return found


@router.get("/categories/{category}/map", response_model=BankMap)
async def bank_map(request: Request, caller: Operator, category: CategoryName) -> dict[str, Any]:
    """Show the patches of the active bank as a map, and how well each is covered.

    A patch that is far from those of all other references stands alone: only its reference lets
    such a spot pass.
    """
    service = service_of(request)
    found = await service.studies.run(lambda _: service.maps.of(service.workspace, category))
    references = [
        {**image, "thumbnail": address(category, "references", "thumbnail", name=image["name"])}
        for image in found["references"]
    ]
    return {**found, "references": references}


def _with_thumbnail(category: str, document: dict[str, Any]) -> dict[str, Any]:
    return {
        **document,
        "thumbnail": address(category, "defects", document["defect_id"], "thumbnail"),
    }
