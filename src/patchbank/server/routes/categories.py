"""Categories and their banks: shown, set, changed back, removed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from patchbank.inspection.keeping.manage import (
    activate_version,
    list_categories,
    remove_category,
    show_category,
)
from patchbank.inspection.keeping.references import Order, list_references, score_histogram
from patchbank.inspection.living.history import history
from patchbank.inspection.living.undo import undo
from patchbank.inspection.measuring.costs import Costs
from patchbank.inspection.measuring.new_limits import NewLimits
from patchbank.inspection.measuring.threshold_curve import threshold_report
from patchbank.inspection.sources import checked_name
from patchbank.server.access import Admin, Engineer, Operator
from patchbank.server.addresses import address
from patchbank.server.disconnecting import until_gone
from patchbank.server.models import MOST_NUMBER
from patchbank.server.models.categories import (
    Activation,
    ActivationWanted,
    CategoryDetails,
    CategoryList,
    Histogram,
    History,
    NewThresholds,
    ReferencePage,
    Removal,
    Thresholds,
    Undone,
    UndoWanted,
)
from patchbank.server.parameters import DEFAULT_LIMIT, Before, CategoryName, ExpectedVersion, Limit
from patchbank.server.pictures import PICTURE, picture
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of

router = APIRouter(prefix="/v1", tags=["categories"], responses=PROBLEMS)

#: Of a mistake, in any currency.
MOST_COST = 1e12


@router.get("/categories", response_model=CategoryList)
def categories(request: Request, caller: Operator) -> dict[str, Any]:
    """List all categories, by name."""
    return {"items": list_categories(service_of(request).workspace)}


@router.get(
    "/categories/{category}", response_model=CategoryDetails, response_model_exclude_unset=True
)
def show(request: Request, caller: Operator, category: CategoryName) -> dict[str, Any]:
    """Show a category's active bank and its history."""
    return show_category(service_of(request).workspace, category)


@router.delete("/categories/{category}", response_model=Removal)
def remove(request: Request, caller: Admin, category: CategoryName) -> dict[str, Any]:
    """Remove a category for good, with its banks, images and inspections."""
    removed = remove_category(service_of(request).workspace, category)
    return {"category": category, "removed": removed}


@router.get("/categories/{category}/history", response_model=History)
def versions(request: Request, caller: Operator, category: CategoryName) -> dict[str, Any]:
    """List the versions of a bank, newest first: what made them, who, what came and went."""
    return {"items": history(service_of(request).workspace, category)}


@router.get("/categories/{category}/thresholds", response_model=Thresholds)
async def thresholds(
    request: Request,
    caller: Operator,
    category: CategoryName,
    recorded_defects: Annotated[
        bool, Query(description="Whether to judge the recorded defects too; that takes seconds.")
    ] = False,
    cost_miss: Annotated[
        float | None, Query(gt=0, le=MOST_COST, description="What it costs to miss a defect.")
    ] = None,
    cost_false_alarm: Annotated[
        float | None,
        Query(gt=0, le=MOST_COST, description="What a false alarm costs, in the same currency."),
    ] = None,
    defect_rate: Annotated[
        float | None, Query(gt=0, lt=1, description="Share of parts that are defective.")
    ] = None,
) -> dict[str, Any]:
    """Show the limits in use, what they promise, and what others would change.

    For each false-alarm rate, the curve has the limits, what will be seen, and how many of the last
    10,000 recorded inspections would get another verdict. With `recorded_defects`, it also says how
    many of these each limit finds, and with all three of the costs, which limit costs least.
    """
    service = service_of(request)
    costs = Costs.of(cost_miss, cost_false_alarm, defect_rate)
    if costs is None and not recorded_defects:
        found = await run_in_threadpool(threshold_report, service.workspace, category)
        return found.to_json()
    async with until_gone(request) as progress:
        found = await service.studies.run(
            lambda _: threshold_report(
                service.workspace,
                category,
                recorded_defects=True,
                costs=costs,
                remembered=service.defects,
                progress=progress,
            )
        )
    return found.to_json()


@router.put("/categories/{category}/thresholds", response_model=Thresholds)
def set_thresholds(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    wanted: NewThresholds,
    expected_version: ExpectedVersion = None,
) -> dict[str, Any]:
    """Set the limits by rates or as scores, without a fit, as a version of the bank.

    Images are judged by them from the next on. `undo` takes them back.
    """
    new = NewLimits(**wanted.model_dump())
    return threshold_report(
        service_of(request).workspace,
        category,
        new=new.required(),
        expected_version=expected_version,
    ).to_json()


@router.post("/categories/{category}/activate", response_model=Activation)
def activate(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    wanted: ActivationWanted,
    expected_version: ExpectedVersion = None,
) -> dict[str, Any]:
    """Make an earlier version of a bank the active one, as its next version."""
    return activate_version(
        service_of(request).workspace, category, wanted.version, expected_version=expected_version
    ).to_json()


@router.post("/categories/{category}/undo", response_model=Undone)
def undo_change(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    wanted: UndoWanted,
    expected_version: ExpectedVersion = None,
) -> dict[str, Any]:
    """Undo the last change of a bank, or go back to a version.

    The state before becomes the next version, so an undo can be undone: name the version that you
    want back. Undoing again without a version goes back one change more.
    """
    return undo(
        service_of(request).workspace, category, wanted.version, expected_version=expected_version
    ).to_json()


@router.get("/categories/{category}/references", response_model=ReferencePage)
def references(
    request: Request,
    caller: Operator,
    category: CategoryName,
    limit: Limit = DEFAULT_LIMIT,
    before: Before = None,
    order: Annotated[
        Order, Query(description="`newest` first, or `unusual`: those with the highest scores.")
    ] = "newest",
) -> dict[str, Any]:
    """List the references of the active bank, those added last first."""
    page = list_references(
        service_of(request).workspace, category, limit=limit, before=before, order=order
    )
    for item in page.items:
        item["thumbnail"] = address(category, "references", item["reference_id"], "thumbnail")
    return page.to_json()


@router.get("/categories/{category}/histogram", response_model=Histogram)
def histogram(
    request: Request,
    caller: Operator,
    category: CategoryName,
    bins: Annotated[int, Query(ge=1, le=500, description="How many bins of one width.")] = 40,
    inspections: Annotated[
        int, Query(ge=1, le=10_000, description="Of how many of the last inspections.")
    ] = 1000,
) -> dict[str, Any]:
    """Count the scores of references and of the last inspections in bins."""
    return score_histogram(
        service_of(request).workspace, category, bins=bins, inspections=inspections
    )


@router.get(
    "/categories/{category}/references/thumbnail", response_class=Response, responses=PICTURE
)
def thumbnail_of_name(
    request: Request,
    caller: Operator,
    category: CategoryName,
    name: Annotated[
        str, Query(description="Name of the reference, as inspections have it.", min_length=1)
    ],
) -> Response:
    """Give a small picture of a reference by its name, also of one that was withdrawn."""
    images = service_of(request).workspace.database.images
    return picture(images.thumbnail_of_name(category, checked_name(name)), name)


@router.get(
    "/categories/{category}/references/{reference_id}/thumbnail",
    response_class=Response,
    responses=PICTURE,
)
def thumbnail(
    request: Request,
    caller: Operator,
    category: CategoryName,
    reference_id: Annotated[
        int, Path(ge=1, le=MOST_NUMBER, description="Number of the reference.")
    ],
) -> Response:
    """Give a small picture of a reference, also of one that was withdrawn."""
    content = service_of(request).workspace.database.images.thumbnail(category, reference_id)
    return picture(content, f"reference-{reference_id}.jpg")
