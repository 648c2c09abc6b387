"""Reads what the agent wrote with CodeCarbon's own code. Arguments: an output directory. Prints one JSON object.

Whatever CodeCarbon or pandas refuse ends this with an exception; the figures are compared by the caller.
"""

import dataclasses
import glob
import json
import math
import numbers
import os
import shutil
import sys
import tempfile

import pandas
from codecarbon.output_methods.emissions_data import EmissionsData
from codecarbon.output_methods.file import FileOutput
from codecarbon.viz.carbonboard import render_app
from codecarbon.viz.data import Data

FIELDS = dataclasses.fields(EmissionsData)
NAMES = [field.name for field in FIELDS]
# What a machine that nobody has located does not know.
MAY_BE_EMPTY = {"longitude", "latitude"}


def check_types(row, where):
    """Every field has the type that EmissionsData declares; pandas and JSON have their own words for empty."""
    for field in FIELDS:
        value = row[field.name]
        empty = value is None or (isinstance(value, float) and math.isnan(value))
        if field.type in (float, "float"):
            number = isinstance(value, numbers.Real) and not isinstance(value, bool) and not empty
            good = number or (empty and field.name in MAY_BE_EMPTY)
        else:
            good = isinstance(value, str) or empty
        if not good:
            raise TypeError(f"{where}: {field.name} is {value!r}, declared as {field.type}")


def plain(value):
    """As JSON: empty is null, numbers are Python's."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if hasattr(value, "item") else value


def read_csv(path):
    frame = pandas.read_csv(path)
    if list(frame.columns) != NAMES:
        raise ValueError(f"columns {list(frame.columns)}, CodeCarbon's are {NAMES}")
    rows = frame.to_dict("records")
    for row in rows:
        check_types(row, path)
    return frame, [EmissionsData(**row) for row in rows]


def append_as_codecarbon(path, data):
    """CodeCarbon goes on with the file: it must not take it for another format and put it aside."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, folder)
        output = FileOutput("emissions.csv", folder, on_csv_write="append")
        if not output.has_valid_headers(data):
            raise ValueError("CodeCarbon does not accept the header")
        output.out(data, None)
        appended = len(pandas.read_csv(output.save_file_path))
        update = FileOutput("emissions.csv", folder, on_csv_write="update")
        one = dataclasses.replace(data, run_id="another")
        update.out(one, None)
        update.out(one, None)
        updated = len(pandas.read_csv(update.save_file_path))
        return {"appended": appended, "updated": updated, "files": sorted(os.listdir(folder))}


def board(frame):
    """Every figure of carbonboard, by the requests that a browser sends."""
    client = render_app(frame).server.test_client()
    values = {"project_name.value": frame.project_name.iloc[-1], "energy_type.value": "fossil"}
    waiting = client.get("/_dash-dependencies").get_json()
    drawn = {}
    while waiting:
        ready = [one for one in waiting if all(name_of(it) in values for it in one["inputs"])]
        if not ready:
            raise ValueError(f"never asked: {waiting}")
        for one in ready:
            waiting.remove(one)
            outputs = [dict(zip(("id", "property"), it.rsplit(".", 1))) for it in one["output"].strip(".").split("...")]
            several = one["output"].startswith("..")
            answer = client.post(
                "/_dash-update-component",
                json={
                    "output": one["output"],
                    "outputs": outputs if several else outputs[0],
                    "inputs": [{**it, "value": values[name_of(it)]} for it in one["inputs"]],
                    "changedPropIds": [name_of(it) for it in one["inputs"]],
                },
            )
            if answer.status_code != 200:
                raise ValueError(f"{one['output']}: status {answer.status_code}")
            for identity, properties in answer.get_json()["response"].items():
                for name, value in properties.items():
                    values[f"{identity}.{name}"] = drawn[f"{identity}.{name}"] = value
    return drawn


def name_of(it):
    return f"{it['id']}.{it['property']}"


def host_lines(directory):
    rows = []
    for path in sorted(glob.glob(os.path.join(directory, "emissions_*.json"))):
        with open(path, encoding="utf-8") as file:
            rows += [json.loads(line) for line in file]
    hosts = [row for row in rows if row["record"] == "host"]
    accepted = []
    for row in hosts:
        theirs = [name for name in row if name in NAMES]
        if theirs != NAMES:
            raise ValueError(f"fields {theirs}, CodeCarbon's are {NAMES}")
        check_types(row, "a host line")
        accepted.append(EmissionsData(**{name: row[name] for name in NAMES}))
    return accepted


def delta(now, before):
    """CodeCarbon's own difference of two records: they are cumulative over the run."""
    now = dataclasses.replace(now)
    now.compute_delta_emission(before)
    return dataclasses.asdict(now)


def main(directory):
    path = os.path.join(directory, "emissions.csv")
    frame, rows = read_csv(path)
    hosts = host_lines(directory)
    drawn = board(frame)
    summary = Data.get_project_summary(Data.get_project_data(frame, rows[-1].project_name).data)
    answer = {
        "csv": [{name: plain(value) for name, value in dataclasses.asdict(row).items()} for row in rows],
        "hosts": [dataclasses.asdict(row) for row in hosts],
        "deltas": [delta(now, before) for before, now in zip(hosts, hosts[1:])],
        "file_output": append_as_codecarbon(path, rows[-1]),
        "summary": {name: plain(value) for name, value in summary["total"].items()},
        "drawn": sorted(drawn),
        "location": drawn["country_name.children"],
    }
    # Floats are written so that they read back as they were.
    json.dump(answer, sys.stdout, allow_nan=False)


main(sys.argv[1])
