#!/usr/bin/env python3
"""Turns the account of a run of the fault matrix (a line of JSON for each row) into a Markdown table."""

import argparse
import datetime
import json
import platform
import subprocess
import sys


def counts(account):
    return ", ".join(f"{number} {what}" for what, number in account["counts"].items()) or "-"


def version(command):
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip().splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def table(accounts, versions, today, how):
    lines = [
        "# The fault matrix",
        "",
        f"{how}.",
        "",
        "What each row does and asks is in `tests/faults`. After each fault every document is compared with what the oracle",
        "makes of the records below the committed offsets: one difference, and the row has failed.",
        "",
        f"Date: {today}. " + "; ".join(versions) + ".",
        "",
        "| row | fault | seed | counts | seconds | result |",
        "|---|---|---|---|---|---|",
    ]
    for account in sorted(accounts, key=lambda account: (account["row"], account["fault"])):
        result = "passed" if account["passed"] else "**failed**"
        cells = (account["row"], account["fault"], account["seed"], counts(account), account["seconds"], result)
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    failed = sum(not account["passed"] for account in accounts)
    seconds = sum(account["seconds"] for account in accounts)
    lines += ["", f"{len(accounts)} rows, {failed} failed, {seconds // 60} minutes."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report")
    parser.add_argument("table")
    parser.add_argument("--how", default="Made by `./test.sh faults --long`", help="how the account was made")
    options = parser.parse_args()
    with open(options.report, encoding="utf-8") as file:
        accounts = [json.loads(line) for line in file if line.strip()]
    if not accounts:
        sys.exit(f"{options.report}: no row left an account")
    services = open("scripts/services.sh", encoding="utf-8").read()
    names = {"KAFKA_VERSION": "Apache Kafka", "SECANTUSDB_VERSION": "SecantusDB"}
    versions = [f"tillflow {version(['git', 'describe', '--always', '--dirty'])}", version(["rustc", "--version"])]
    for line in services.splitlines():
        name, _, number = line.removeprefix("readonly ").partition("=")
        if name in names:
            versions.append(f"{names[name]} {number} (where no other server was named)")
    versions.append(f"{platform.system()} {platform.release()}")
    with open(options.table, "w", encoding="utf-8") as file:
        file.write(table(accounts, versions, datetime.date.today().isoformat(), options.how))


if __name__ == "__main__":
    main()
