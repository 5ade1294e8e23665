"""Addresses as they stand on a parcel."""


def street(record):
    number = record.get("number")
    return f"{record['street']} {number}" if number else record["street"]


def label(record):
    lines = [record["name"]]
    if "company" in record:
        lines.append(record["company"].upper())  # the fault
    lines.append(street(record))
    lines.append(f"{record['zip']} {record['city']}")
    return lines
