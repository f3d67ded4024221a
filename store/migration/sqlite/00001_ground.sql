-- The ground floor: the plan (devices, their parents, their checks), what is
-- believed now (states), and what happened (spans, incidents, absences, clock
-- events).
--
-- Times are whole microseconds since 1970-01-01 UTC; 0 is "never", so the
-- living are those with deleted_us = 0 and the open those with closed_us = 0.
-- Status, cause, importance and trouble are the numbers of the vocabulary.

-- +goose Up

-- Identities come from here, so that none is ever given twice, not even after
-- a purge, and a batch learns all of its identities in one step.
CREATE TABLE sequences (
    name TEXT    NOT NULL PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO sequences (name, last) VALUES ('devices', 0), ('checks', 0);

CREATE TABLE devices (
    id         INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    importance INTEGER NOT NULL,
    tags       TEXT    NOT NULL, -- JSON list, sorted
    paused     INTEGER NOT NULL,
    from_file  INTEGER NOT NULL,
    search     TEXT    NOT NULL, -- name, address and tags in lower case
    created_us INTEGER NOT NULL,
    deleted_us INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX devices_name ON devices (name) WHERE deleted_us = 0;

CREATE TABLE device_parents (
    device_id INTEGER NOT NULL REFERENCES devices (id),
    parent_id INTEGER NOT NULL REFERENCES devices (id),
    PRIMARY KEY (device_id, parent_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_parents_parent ON device_parents (parent_id);

CREATE TABLE checks (
    id             INTEGER NOT NULL PRIMARY KEY,
    device_id      INTEGER NOT NULL REFERENCES devices (id),
    name           TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    interval_us    INTEGER NOT NULL,
    timeout_us     INTEGER NOT NULL,
    fall           INTEGER NOT NULL,
    rise           INTEGER NOT NULL,
    rtt_above_us   INTEGER NOT NULL,
    loss_above     REAL    NOT NULL, -- a share, 0 to 1
    loss_window_us INTEGER NOT NULL,
    settings       TEXT    NOT NULL, -- JSON; empty for the defaults of the kind
    created_us     INTEGER NOT NULL,
    deleted_us     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX checks_name ON checks (device_id, name) WHERE deleted_us = 0;

-- The open span of each living check, exactly as long as it lives.
CREATE TABLE states (
    check_id       INTEGER NOT NULL PRIMARY KEY REFERENCES checks (id),
    status         INTEGER NOT NULL,
    cause          INTEGER NOT NULL,
    begin_us       INTEGER NOT NULL,
    proof_us       INTEGER NOT NULL,
    uncertainty_us INTEGER NOT NULL,
    reason         TEXT    NOT NULL
) STRICT;

-- A span comes here when it closes. Ordered by check and end, the spans of one
-- check over any window lie side by side. No reference to checks: it would
-- cost a lookup a row in the storm that this table must take.
CREATE TABLE spans (
    check_id       INTEGER NOT NULL,
    end_us         INTEGER NOT NULL,
    begin_us       INTEGER NOT NULL,
    status         INTEGER NOT NULL,
    cause          INTEGER NOT NULL,
    proof_us       INTEGER NOT NULL,
    uncertainty_us INTEGER NOT NULL,
    reason         TEXT    NOT NULL,
    PRIMARY KEY (check_id, end_us),
    CHECK (begin_us < end_us)
) STRICT, WITHOUT ROWID;

CREATE TABLE incidents (
    id         INTEGER NOT NULL PRIMARY KEY,
    device_id  INTEGER NOT NULL, -- 0 for a vantage point's own
    check_id   INTEGER NOT NULL, -- 0 for a vantage point's own
    vantage_id INTEGER NOT NULL,
    trouble    INTEGER NOT NULL,
    opened_us  INTEGER NOT NULL,
    closed_us  INTEGER NOT NULL,
    under_id   INTEGER NOT NULL, -- the parent's incident, 0 for none
    reason     TEXT    NOT NULL
) STRICT;
CREATE INDEX incidents_device ON incidents (device_id, id);
CREATE INDEX incidents_under ON incidents (under_id, id) WHERE under_id <> 0;
CREATE INDEX incidents_open ON incidents (check_id) WHERE closed_us = 0;

CREATE TABLE absences (
    begin_us       INTEGER NOT NULL,
    end_us         INTEGER NOT NULL,
    uncertainty_us INTEGER NOT NULL,
    cause          INTEGER NOT NULL,
    unsure         INTEGER NOT NULL,
    checks         INTEGER NOT NULL,
    PRIMARY KEY (begin_us, end_us)
) STRICT, WITHOUT ROWID;

CREATE TABLE clock_events (
    at_us   INTEGER NOT NULL,
    step_us INTEGER NOT NULL,
    PRIMARY KEY (at_us, step_us)
) STRICT, WITHOUT ROWID;
