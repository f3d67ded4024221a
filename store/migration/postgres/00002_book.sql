-- The book: what is needed to judge stored looks again (policies, starts), to
-- answer any question for figures at once (meters), and to say what the looks
-- of a day were (days).

-- +goose Up

SET LOCAL statement_timeout = 0;

-- The policy of a check from since_us on, until its next row.
CREATE TABLE policies (
    check_id       BIGINT NOT NULL,
    since_us       BIGINT NOT NULL,
    interval_us    BIGINT NOT NULL,
    timeout_us     BIGINT NOT NULL,
    fall           BIGINT NOT NULL,
    rise           BIGINT NOT NULL,
    rtt_above_us   BIGINT NOT NULL,
    loss_above     DOUBLE PRECISION NOT NULL, -- a share, 0 to 1
    loss_window_us BIGINT NOT NULL,
    PRIMARY KEY (check_id, since_us)
);
INSERT INTO policies SELECT id, created_us, interval_us, timeout_us, fall, rise, rtt_above_us, loss_above, loss_window_us FROM checks;

-- Every start of Sereno: what the looks before it had brought into doubt, but
-- not proven, was forgotten then.
CREATE TABLE starts (
    at_us      BIGINT NOT NULL PRIMARY KEY,
    settled_us BIGINT NOT NULL, -- up to then all looks had been judged and written
    version    TEXT COLLATE "C" NOT NULL
);

-- Meter readings: how long a check had been in each status, from its creation
-- to at_us, a full hour. A check has one at the full hour before each of its
-- changes. The figures of a window are the difference of two readings, each
-- with the spans since it.
CREATE TABLE meters (
    check_id    BIGINT NOT NULL,
    at_us       BIGINT NOT NULL,
    up_us       BIGINT NOT NULL,
    degraded_us BIGINT NOT NULL,
    down_us     BIGINT NOT NULL,
    behind_us   BIGINT NOT NULL, -- the part of down_us that was spent behind a parent
    unknown_us  BIGINT NOT NULL,
    paused_us   BIGINT NOT NULL,
    outages     BIGINT NOT NULL, -- begun before at_us
    ailing      BIGINT NOT NULL, -- it was down when it was last seen
    PRIMARY KEY (check_id, at_us)
);

-- The looks of one check on one day (UTC; day 0 is 1970-01-01).
CREATE TABLE days (
    check_id   BIGINT NOT NULL,
    day        BIGINT NOT NULL,
    looks      BIGINT NOT NULL, -- that were evidence
    lost       BIGINT NOT NULL,
    rtt_min_us BIGINT NOT NULL, -- of those answered; 0 if none was
    rtt_avg_us BIGINT NOT NULL,
    rtt_p50_us BIGINT NOT NULL,
    rtt_p95_us BIGINT NOT NULL,
    rtt_p99_us BIGINT NOT NULL,
    rtt_max_us BIGINT NOT NULL,
    PRIMARY KEY (check_id, day)
);

-- What figures of any window are made from: spans tile, so what lies between
-- those that are not Up was Up. It holds all columns that figures need.
CREATE INDEX spans_not_up ON spans (check_id, end_us, begin_us, status, cause) WHERE status <> 1;

-- The checks of a device, the removed among them.
CREATE INDEX checks_device ON checks (device_id, id);
