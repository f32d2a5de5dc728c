"""Test tables of results: differences beside means, unknown metrics, versions, and text that a format would misread."""

import csv
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jaxsr.evaluation.layout import Table, latex, markdown, to_csv
from jaxsr.evaluation.result import Result, summarise
from jaxsr.evaluation.tables import compare, render


def result(name: str, values: list[float], *, metric: str = "psnr", seeds: int = 1, **changes: Any) -> Result:
    """Return a result whose images have one patch each; every further seed has values higher by one."""
    rows = [
        {"image": f"i{at}", "patch": 0, "seed": seed, "psnr": value + seed}
        for seed in range(seeds)
        for at, value in enumerate(values)
    ]
    found = Result(
        name=name,
        protocol={"name": "plain"},
        protocol_sha256="0" * 64,
        data={"name": "ours", "images": len(values), "lr_sha256": None},
        method={},
        seeds=list(range(seeds)),
        metrics={},
        images=rows,
        failed=[],
        versions={"jaxsr": "1.0", "jax": "0.10.2"},
        command="",
    )
    found = replace(found, metrics=summarise(found, {"psnr": "PSNR, RGB"}, {}, {}))
    if metric != "psnr":
        rows = [{metric if key == "psnr" else key: value for key, value in row.items()} for row in rows]
        found = replace(found, metrics={metric: found.metrics["psnr"]}, images=rows)
    return replace(found, **changes)


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {name} "))


def test_a_difference_stands_before_its_interval_and_apart_from_the_mean():
    base, other = result("base", [30.0, 31, 32]), result("other", [31.0, 33, 35])
    text = render([base, other], "md", against="base")
    # differences 1, 2, 3: mean 2, t(2) = 4.303, standard error 1 / sqrt(3)
    assert row(text, "other") == "| other | 33.00 (+2.00 [-0.48, +4.48]) |"
    assert row(text, "base") == "| base | 31.00 |"
    assert row(render([base, other], "md"), "base") == "| base | 31.00 [28.52, 33.48] |"
    one = [result("base", [30.0]), result("other", [29.0])]
    assert row(render(one, "md", against="base"), "other") == "| other | 29.00 (-1.00) |"


def test_intervals_of_older_results_are_made_anew():
    old = result("old", [30.0, 31, 32], seeds=3)
    entry = old.metrics["psnr"]
    stale = replace(old, metrics={"psnr": entry | {"images": [31.9, 32.1], "seeds": [31.0, 33.0]}})
    assert render([stale], "md") == render([old], "md")
    assert "95 % over 3 seeds: PSNR [29.52, 34.48]." in render([old], "md")


@pytest.mark.parametrize(("up", "arrow", "wins"), [(True, " ↑", "3 | 0"), (False, " ↓", "0 | 3"), (None, "", "0 | 0")])
def test_a_metric_of_another_version_is_shown_as_the_result_tells_it(up, arrow, wins):
    results = [result(name, [0.5 + at, 0.25, 0.75], metric="sharp2") for name, at in (("a", 1), ("b", 0))]
    results = [replace(one, metrics={"sharp2": one.metrics["sharp2"] | {"up": up}}) for one in results]
    assert f"| method | sharp2{arrow} |" in render(results, "md", against="b")
    first = replace(results[0], images=[one | {"sharp2": one["sharp2"] + 1} for one in results[0].images])
    assert f"| {wins} | 3 |" in compare(first, results[1])
    assert "0.5000 [" in row(render(results, "md"), "b")


def test_versions_that_differ_are_told_with_the_results_that_have_them():
    new, old = (result(name, [30.0, 31], versions={"jaxsr": v, "jax": "1"}) for name, v in (("new", "2"), ("old", "1")))
    assert "The results come from different versions of jaxsr: 2 (new); 1 (old)." in render([new, old], "md")
    assert "versions of jax:" not in render([new, old], "md")
    assert "versions" not in render([new, replace(old, versions=new.versions)], "md")
    assert "versions of jax: 1 (new); not recorded (old)" in render([new, replace(old, versions={"jaxsr": "2"})], "md")


def test_bars_and_line_ends_do_not_break_rows_of_markdown():
    table = Table("t", ("method", "a|b"), (("x|y\nz", "1"),), ())
    assert r"| method | a\|b |" in markdown([table])
    assert r"| x\|y z | 1 |" in markdown([table])


def test_latex_gets_every_letter_as_text_and_the_warning_in_sight():
    table = Table("t", ("method", "n ↑"), ((r"a$b^c{d}e\f~g_h%i&j#k", "1"), ("[x]", "2")), ())
    text = latex([table], "50 % of_it")
    assert r"a\$b\textasciicircum{}c\{d\}e\textbackslash{}f\textasciitilde{}g\_h\%i\&j\#k & 1 \\" in text
    assert "\n{}[x] & 2" in text  # LaTeX would read \\[x] as a length
    assert text.startswith(r"\noindent\textbf{50 \% of\_it}\par")
    assert r"n $\uparrow$" in text


def test_csv_says_what_the_other_formats_say():
    table = Table("t", ("method", "PSNR"), (("x", "1"),), ("x: LPIPS: no weights.",), ("PSNR, RGB",))
    rows = list(csv.DictReader(to_csv([table], "two tables").splitlines()))
    by_kind = {one["kind"]: one for one in rows}
    assert by_kind["warning"]["note"] == "two tables"
    assert by_kind["variant"]["PSNR"] == "PSNR, RGB"
    assert (by_kind["result"]["method"], by_kind["result"]["PSNR"]) == ("x", "1")
    assert by_kind["note"]["note"] == "x: LPIPS: no weights."
    assert {one["table"] for one in rows} == {"t"}


def test_two_variants_of_a_metric_have_two_columns_and_the_list_says_which():
    one, other = result("a", [30.0, 31]), result("b", [30.0, 31])
    other = replace(other, metrics={"psnr": other.metrics["psnr"] | {"variant": "PSNR, Y"}})
    text = render([one, other], "md", against="a")
    assert "| method | PSNR ↑ | PSNR (2) ↑ |" in text
    assert "- PSNR, RGB.\n- PSNR (2): PSNR, Y." in text
    assert np.char.count(text, "–") == 2


def test_names_make_no_html_no_second_line_and_no_formula():
    table = Table(
        "<b>t</b>", ("method", "PSNR"), (("=cmd|' /C x'!A0\n| x |", "-1.5"),), ("+1 <script>\r\n# x",), ("PSNR",)
    )
    text = markdown([table], "<i>")
    assert "<" not in text
    assert r"| =cmd\|' /C x'!A0 \| x \| | -1.5 |" in text
    assert "- +1 &lt;script> # x\n" in text
    rows = [*csv.reader(to_csv([table], "@w").splitlines(keepends=True))]
    assert [row[1:3] for row in rows if row[-2] == "result"] == [["'=cmd|' /C x'!A0\n| x |", "-1.5"]]
    assert [row[-1] for row in rows if row[-2] in ("note", "warning")] == ["'@w", "'+1 <script>\r\n# x"]


def test_foreign_results_make_no_formula_and_no_link():
    table = Table("t", ("method", "=a()"), (("![x](http://a/b) [y](javascript:z)", "1"),), (), ("@b()",))
    text = markdown([table])
    assert "](" not in text
    assert "![" not in text
    rows = [*csv.reader(to_csv([table], "").splitlines())]
    assert [row[2] for row in rows] == ["'=a()", "'@b()", "1"]


def test_the_name_of_an_image_is_no_formula_in_csv():
    found = result("a", [30.0])
    found = replace(found, images=[found.images[0] | {"image": "=1+1"}])
    assert next(csv.DictReader(found.csv().splitlines()))["image"] == "'=1+1"
    scored = replace(found, images=[found.images[0] | {"=x": 1.0}], metrics={"=x": found.metrics["psnr"]})
    assert scored.csv().splitlines()[0] == "image,patch,seed,'=x"
