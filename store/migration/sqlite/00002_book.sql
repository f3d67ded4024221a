-- The book: what is needed to judge stored looks again (policies, starts), to
-- answer any question for figures at once (meters), and to say what the looks
-- of a day were (days).

-- +goose Up

-- The policy of a check from since_us on, until its next row.
CREATE TABLE policies (
    check_id       INTEGER NOT NULL,
    since_us       INTEGER NOT NULL,
    interval_us    INTEGER NOT NULL,
    timeout_us     INTEGER NOT NULL,
    fall           INTEGER NOT NULL,
    rise           INTEGER NOT NULL,
    rtt_above_us   INTEGER NOT NULL,
    loss_above     REAL    NOT NULL, -- a share, 0 to 1
    loss_window_us INTEGER NOT NULL,
    PRIMARY KEY (check_id, since_us)
) STRICT, WITHOUT ROWID;
INSERT INTO policies SELECT id, created_us, interval_us, timeout_us, fall, rise, rtt_above_us, loss_above, loss_window_us FROM checks;

-- Every start of Sereno: what the looks before it had brought into doubt, but
-- not proven, was forgotten then.
CREATE TABLE starts (
    at_us      INTEGER NOT NULL PRIMARY KEY,
    settled_us INTEGER NOT NULL, -- up to then all looks had been judged and written
    version    TEXT    NOT NULL
) STRICT;

-- Meter readings: how long a check had been in each status, from its creation
-- to at_us, a full hour. A check has one at the full hour before each of its
-- changes. The figures of a window are the difference of two readings, each
-- with the spans since it.
CREATE TABLE meters (
    check_id    INTEGER NOT NULL,
    at_us       INTEGER NOT NULL,
    up_us       INTEGER NOT NULL,
    degraded_us INTEGER NOT NULL,
    down_us     INTEGER NOT NULL,
    behind_us   INTEGER NOT NULL, -- the part of down_us that was spent behind a parent
    unknown_us  INTEGER NOT NULL,
    paused_us   INTEGER NOT NULL,
    outages     INTEGER NOT NULL, -- begun before at_us
    ailing      INTEGER NOT NULL, -- it was down when it was last seen
    PRIMARY KEY (check_id, at_us)
) STRICT, WITHOUT ROWID;

-- The looks of one check on one day (UTC; day 0 is 1970-01-01).
CREATE TABLE days (
    check_id   INTEGER NOT NULL,
    day        INTEGER NOT NULL,
    looks      INTEGER NOT NULL, -- that were evidence
    lost       INTEGER NOT NULL,
    rtt_min_us INTEGER NOT NULL, -- of those answered; 0 if none was
    rtt_avg_us INTEGER NOT NULL,
    rtt_p50_us INTEGER NOT NULL,
    rtt_p95_us INTEGER NOT NULL,
    rtt_p99_us INTEGER NOT NULL,
    rtt_max_us INTEGER NOT NULL,
    PRIMARY KEY (check_id, day)
) STRICT, WITHOUT ROWID;

-- What figures of any window are made from: spans tile, so what lies between
-- those that are not Up was Up. It holds all columns that figures need.
CREATE INDEX spans_not_up ON spans (check_id, end_us, begin_us, status, cause) WHERE status <> 1;

-- The checks of a device, the removed among them.
CREATE INDEX checks_device ON checks (device_id, id);
