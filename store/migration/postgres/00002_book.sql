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
-- to at_us, a full hour. A check has one before a change, each time some spans
-- have ended. The figures of a window are the difference of two readings, each
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

-- Views for people who read the database themselves. docs/database.md
-- describes them; what they are made of may change, they stay.

-- One row for each span of each check, also of removed devices; the last one of
-- a check that lives is open, and lasts until now.
CREATE VIEW ip_ping_status AS
SELECT d.name AS device, d.address, c.name AS check_name, c.kind, CASE s.status WHEN 1 THEN 'up' WHEN 2 THEN 'degraded' WHEN 3 THEN 'down' ELSE 'unknown' END AS status,
    timestamptz 'epoch' + s.begin_us * interval '1 microsecond' AS begin_at, timestamptz 'epoch' + s.end_us * interval '1 microsecond' AS end_at,
    (coalesce(s.end_us, (extract(epoch FROM now()) * 1000000)::bigint) - s.begin_us)::float8 / 1000000 AS seconds,
    CASE WHEN s.status = 3 THEN (coalesce(s.end_us, (extract(epoch FROM now()) * 1000000)::bigint) - s.begin_us)::float8 / 1000000 ELSE 0 END AS downtime_seconds,
    (s.uncertainty_us)::float8 / 1000000 AS uncertainty_seconds,
    CASE s.cause WHEN 0 THEN 'look' WHEN 1 THEN 'new' WHEN 2 THEN 'no_evidence' WHEN 3 THEN 'absence' WHEN 4 THEN 'isolated' WHEN 5 THEN 'paused' WHEN 6 THEN 'behind_parent' END AS cause,
    s.reason, d.id AS device_id, c.id AS check_id, s.begin_us, s.end_us
FROM (
    SELECT check_id, status, cause, begin_us, end_us, uncertainty_us, reason FROM spans
    UNION ALL SELECT check_id, status, cause, begin_us, NULL, uncertainty_us, reason FROM states
) s JOIN checks c ON c.id = s.check_id JOIN devices d ON d.id = c.device_id;

-- One row for each living device that is pinged: how its echo is now.
CREATE VIEW live_ping_status AS
SELECT d.name AS device, d.address, CASE s.status WHEN 1 THEN 'up' WHEN 2 THEN 'degraded' WHEN 3 THEN 'down' ELSE 'unknown' END AS status,
    timestamptz 'epoch' + s.begin_us * interval '1 microsecond' AS since, ((extract(epoch FROM now()) * 1000000)::bigint - s.begin_us)::float8 / 1000000 AS seconds, timestamptz 'epoch' + s.proof_us * interval '1 microsecond' AS proven_at,
    CASE s.cause WHEN 0 THEN 'look' WHEN 1 THEN 'new' WHEN 2 THEN 'no_evidence' WHEN 3 THEN 'absence' WHEN 4 THEN 'isolated' WHEN 5 THEN 'paused' WHEN 6 THEN 'behind_parent' END AS cause,
    s.reason, d.paused, d.id AS device_id, c.id AS check_id, s.begin_us
FROM devices d JOIN checks c ON c.device_id = d.id JOIN states s ON s.check_id = c.id
WHERE d.deleted_us = 0 AND c.id = (SELECT min(o.id) FROM checks o WHERE o.device_id = d.id AND o.deleted_us = 0 AND o.kind = 'icmp');

-- One row for each living device, of all its checks together: unknown if
-- nothing is known of any, up or down if all of which something is known are,
-- else degraded.
CREATE VIEW device_current_status AS
SELECT d.name AS device, d.address, CASE d.importance WHEN 1 THEN 'low' WHEN 2 THEN 'high' WHEN 3 THEN 'critical' ELSE 'medium' END AS importance, d.tags,
    CASE WHEN n.up + n.degraded + n.down = 0 THEN 'unknown' WHEN n.degraded + n.down = 0 THEN 'up' WHEN n.up + n.degraded = 0 THEN 'down' ELSE 'degraded' END AS status,
    timestamptz 'epoch' + n.changed_us * interval '1 microsecond' AS changed_at, n.checks, n.up AS checks_up, n.degraded AS checks_degraded, n.down AS checks_down, n.unseen AS checks_unknown,
    (SELECT count(*) FROM incidents i WHERE i.device_id = d.id AND i.closed_us = 0) AS open_incidents,
    d.paused, d.id AS device_id, n.changed_us
FROM devices d JOIN (
    SELECT c.device_id, count(*) AS checks, max(s.begin_us) AS changed_us, count(*) FILTER (WHERE s.status = 0) AS unseen,
        count(*) FILTER (WHERE s.status = 1) AS up, count(*) FILTER (WHERE s.status = 2) AS degraded, count(*) FILTER (WHERE s.status = 3) AS down
    FROM checks c JOIN states s ON s.check_id = c.id GROUP BY c.device_id
) n ON n.device_id = d.id WHERE d.deleted_us = 0;

-- One row for each living device: what its looks were since it is watched, by
-- whole days, and how often and how long one of its checks was down.
CREATE VIEW device_statistics AS
SELECT d.name AS device, d.address, timestamptz 'epoch' + d.created_us * interval '1 microsecond' AS watched_since,
    coalesce(l.looks, 0) AS looks, coalesce(l.lost, 0) AS lost, 100.0::float8 * l.lost / l.looks AS lost_percent,
    (l.rtt_min_us)::float8 / 1000 AS rtt_min_ms, (l.rtt_sum_us)::float8 / 1000 / nullif(l.looks - l.lost, 0) AS rtt_avg_ms, (l.rtt_max_us)::float8 / 1000 AS rtt_max_ms,
    o.outages, (o.down_us)::float8 / 1000000 AS downtime_seconds, timestamptz 'epoch' + o.last_us * interval '1 microsecond' AS last_outage_at, d.id AS device_id
FROM devices d LEFT JOIN (
    SELECT c.device_id, sum(y.looks) AS looks, sum(y.lost) AS lost, min(y.rtt_min_us) FILTER (WHERE y.looks > y.lost) AS rtt_min_us,
        sum(y.rtt_avg_us * (y.looks - y.lost)) AS rtt_sum_us, max(y.rtt_max_us) FILTER (WHERE y.looks > y.lost) AS rtt_max_us
    FROM checks c JOIN days y ON y.check_id = c.id GROUP BY c.device_id
) l ON l.device_id = d.id JOIN (
    SELECT v.id, count(s.begin_us) AS outages, coalesce(sum(s.end_us - s.begin_us), 0) AS down_us, max(s.begin_us) AS last_us
    FROM devices v LEFT JOIN checks c ON c.device_id = v.id LEFT JOIN (
        SELECT check_id, begin_us, end_us FROM spans WHERE status = 3
        UNION ALL SELECT check_id, begin_us, (extract(epoch FROM now()) * 1000000)::bigint FROM states WHERE status = 3
    ) s ON s.check_id = c.id GROUP BY v.id
) o ON o.id = d.id WHERE d.deleted_us = 0;

-- What is unusual now. There are no rows before Sereno looks for it; the shape
-- is what readers can rely on.
CREATE VIEW active_anomalies AS
SELECT d.name AS device, d.address, c.name AS check_name, NULL::text AS measure, NULL::float8 AS expected, NULL::float8 AS seen,
    NULL::float8 AS score, NULL::timestamptz AS since, NULL::text AS reason, d.id AS device_id, c.id AS check_id
FROM devices d JOIN checks c ON c.device_id = d.id WHERE false;

-- From when on a class of facts is kept: what ended before was dropped. The
-- class 'now' is the time that the latest run of the retention went by.
CREATE TABLE cuts (
    class        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kept_from_us BIGINT NOT NULL
);
