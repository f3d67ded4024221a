-- The ground floor: the plan (devices, their parents, their checks), what is
-- believed now (states), and what happened (spans, incidents, absences, clock
-- events). The same tables as SQLite has, column by column.
--
-- Times are whole microseconds since 1970-01-01 UTC; 0 is "never", so the
-- living are those with deleted_us = 0 and the open those with closed_us = 0.
-- Status, cause, importance and trouble are the numbers of the vocabulary.
-- Texts compare bytewise, whatever the server's collation.

-- +goose Up

SET LOCAL statement_timeout = 0;

-- Identities come from here, so that none is ever given twice, not even after
-- a purge, and a batch learns all of its identities in one step.
CREATE TABLE sequences (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
);
INSERT INTO sequences (name, last) VALUES ('devices', 0), ('checks', 0);

CREATE TABLE devices (
    id         BIGINT NOT NULL PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    address    TEXT COLLATE "C" NOT NULL,
    importance BIGINT NOT NULL,
    tags       TEXT COLLATE "C" NOT NULL, -- JSON list, sorted
    paused     BIGINT NOT NULL,
    from_file  BIGINT NOT NULL,
    search     TEXT COLLATE "C" NOT NULL, -- name, address and tags in lower case
    created_us BIGINT NOT NULL,
    deleted_us BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX devices_name ON devices (name) WHERE deleted_us = 0;

CREATE TABLE device_parents (
    device_id BIGINT NOT NULL REFERENCES devices (id),
    parent_id BIGINT NOT NULL REFERENCES devices (id),
    PRIMARY KEY (device_id, parent_id)
);
CREATE INDEX device_parents_parent ON device_parents (parent_id);

CREATE TABLE checks (
    id             BIGINT NOT NULL PRIMARY KEY,
    device_id      BIGINT NOT NULL REFERENCES devices (id),
    name           TEXT COLLATE "C" NOT NULL,
    kind           TEXT COLLATE "C" NOT NULL,
    interval_us    BIGINT NOT NULL,
    timeout_us     BIGINT NOT NULL,
    fall           BIGINT NOT NULL,
    rise           BIGINT NOT NULL,
    rtt_above_us   BIGINT NOT NULL,
    loss_above     DOUBLE PRECISION NOT NULL, -- a share, 0 to 1
    loss_window_us BIGINT NOT NULL,
    settings       TEXT COLLATE "C" NOT NULL, -- JSON; empty for the defaults of the kind
    created_us     BIGINT NOT NULL,
    deleted_us     BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX checks_name ON checks (device_id, name) WHERE deleted_us = 0;

-- The open span of each living check, exactly as long as it lives. Rows change
-- in place for ever: room for the next version on the same page keeps that
-- cheap.
CREATE TABLE states (
    check_id       BIGINT NOT NULL PRIMARY KEY REFERENCES checks (id),
    status         BIGINT NOT NULL,
    cause          BIGINT NOT NULL,
    begin_us       BIGINT NOT NULL,
    proof_us       BIGINT NOT NULL,
    uncertainty_us BIGINT NOT NULL,
    reason         TEXT COLLATE "C" NOT NULL
) WITH (fillfactor = 50);

-- A span comes here when it closes, into the partition of the month in which
-- it ends; Sereno makes and drops the partitions. No reference to checks: it
-- would cost a lookup a row in the storm that this table must take.
CREATE TABLE spans (
    check_id       BIGINT NOT NULL,
    end_us         BIGINT NOT NULL,
    begin_us       BIGINT NOT NULL,
    status         BIGINT NOT NULL,
    cause          BIGINT NOT NULL,
    proof_us       BIGINT NOT NULL,
    uncertainty_us BIGINT NOT NULL,
    reason         TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (check_id, end_us),
    CHECK (begin_us < end_us)
) PARTITION BY RANGE (end_us);

CREATE TABLE incidents (
    id         BIGINT NOT NULL PRIMARY KEY,
    device_id  BIGINT NOT NULL, -- 0 for a vantage point's own
    check_id   BIGINT NOT NULL, -- 0 for a vantage point's own
    vantage_id BIGINT NOT NULL,
    trouble    BIGINT NOT NULL,
    opened_us  BIGINT NOT NULL,
    closed_us  BIGINT NOT NULL,
    under_id   BIGINT NOT NULL, -- the parent's incident, 0 for none
    reason     TEXT COLLATE "C" NOT NULL
);
CREATE INDEX incidents_device ON incidents (device_id, id);
CREATE INDEX incidents_under ON incidents (under_id, id) WHERE under_id <> 0;
CREATE INDEX incidents_open ON incidents (check_id) WHERE closed_us = 0;

CREATE TABLE absences (
    begin_us       BIGINT NOT NULL,
    end_us         BIGINT NOT NULL,
    uncertainty_us BIGINT NOT NULL,
    cause          BIGINT NOT NULL,
    unsure         BIGINT NOT NULL,
    checks         BIGINT NOT NULL,
    PRIMARY KEY (begin_us, end_us)
);

CREATE TABLE clock_events (
    at_us   BIGINT NOT NULL,
    step_us BIGINT NOT NULL,
    PRIMARY KEY (at_us, step_us)
);
