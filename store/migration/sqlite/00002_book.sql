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
-- to at_us, a full hour. A check has one before a change, each time some spans
-- have ended. The figures of a window are the difference of two readings, each
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

-- Views for people who read the database themselves. docs/database.md
-- describes them; what they are made of may change, they stay.

-- One row for each span of each check, also of removed devices; the last one of
-- a check that lives is open, and lasts until now.
CREATE VIEW ip_ping_status AS
SELECT d.name AS device, d.address, c.name AS check_name, c.kind, CASE s.status WHEN 1 THEN 'up' WHEN 2 THEN 'degraded' WHEN 3 THEN 'down' ELSE 'unknown' END AS status,
    strftime('%Y-%m-%dT%H:%M:%fZ', s.begin_us / 1e6, 'unixepoch') AS begin_at, strftime('%Y-%m-%dT%H:%M:%fZ', s.end_us / 1e6, 'unixepoch') AS end_at,
    (coalesce(s.end_us, CAST(unixepoch('subsec') * 1000000 AS INTEGER)) - s.begin_us) / 1e6 AS seconds,
    CASE WHEN s.status = 3 THEN (coalesce(s.end_us, CAST(unixepoch('subsec') * 1000000 AS INTEGER)) - s.begin_us) / 1e6 ELSE 0 END AS downtime_seconds,
    (s.uncertainty_us) / 1e6 AS uncertainty_seconds,
    CASE s.cause WHEN 0 THEN 'look' WHEN 1 THEN 'new' WHEN 2 THEN 'no_evidence' WHEN 3 THEN 'absence' WHEN 4 THEN 'isolated' WHEN 5 THEN 'paused' WHEN 6 THEN 'behind_parent' END AS cause,
    s.reason, d.id AS device_id, c.id AS check_id, s.begin_us, s.end_us
FROM (
    SELECT check_id, status, cause, begin_us, end_us, uncertainty_us, reason FROM spans
    UNION ALL SELECT check_id, status, cause, begin_us, NULL, uncertainty_us, reason FROM states
) s JOIN checks c ON c.id = s.check_id JOIN devices d ON d.id = c.device_id;

-- One row for each living device that is pinged: how its echo is now.
CREATE VIEW live_ping_status AS
SELECT d.name AS device, d.address, CASE s.status WHEN 1 THEN 'up' WHEN 2 THEN 'degraded' WHEN 3 THEN 'down' ELSE 'unknown' END AS status,
    strftime('%Y-%m-%dT%H:%M:%fZ', s.begin_us / 1e6, 'unixepoch') AS since, (CAST(unixepoch('subsec') * 1000000 AS INTEGER) - s.begin_us) / 1e6 AS seconds, strftime('%Y-%m-%dT%H:%M:%fZ', s.proof_us / 1e6, 'unixepoch') AS proven_at,
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
    strftime('%Y-%m-%dT%H:%M:%fZ', n.changed_us / 1e6, 'unixepoch') AS changed_at, n.checks, n.up AS checks_up, n.degraded AS checks_degraded, n.down AS checks_down, n.unseen AS checks_unknown,
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
SELECT d.name AS device, d.address, strftime('%Y-%m-%dT%H:%M:%fZ', d.created_us / 1e6, 'unixepoch') AS watched_since,
    coalesce(l.looks, 0) AS looks, coalesce(l.lost, 0) AS lost, 100.0 * l.lost / l.looks AS lost_percent,
    (l.rtt_min_us) / 1e3 AS rtt_min_ms, (l.rtt_sum_us) / 1e3 / nullif(l.looks - l.lost, 0) AS rtt_avg_ms, (l.rtt_max_us) / 1e3 AS rtt_max_ms,
    o.outages, (o.down_us) / 1e6 AS downtime_seconds, strftime('%Y-%m-%dT%H:%M:%fZ', o.last_us / 1e6, 'unixepoch') AS last_outage_at, d.id AS device_id
FROM devices d LEFT JOIN (
    SELECT c.device_id, sum(y.looks) AS looks, sum(y.lost) AS lost, min(y.rtt_min_us) FILTER (WHERE y.looks > y.lost) AS rtt_min_us,
        sum(y.rtt_avg_us * (y.looks - y.lost)) AS rtt_sum_us, max(y.rtt_max_us) FILTER (WHERE y.looks > y.lost) AS rtt_max_us
    FROM checks c JOIN days y ON y.check_id = c.id GROUP BY c.device_id
) l ON l.device_id = d.id JOIN (
    SELECT v.id, count(s.begin_us) AS outages, coalesce(sum(s.end_us - s.begin_us), 0) AS down_us, max(s.begin_us) AS last_us
    FROM devices v LEFT JOIN checks c ON c.device_id = v.id LEFT JOIN (
        SELECT check_id, begin_us, end_us FROM spans WHERE status = 3
        UNION ALL SELECT check_id, begin_us, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM states WHERE status = 3
    ) s ON s.check_id = c.id GROUP BY v.id
) o ON o.id = d.id WHERE d.deleted_us = 0;

-- What is unusual now. There are no rows before Sereno looks for it; the shape
-- is what readers can rely on.
CREATE VIEW active_anomalies AS
SELECT d.name AS device, d.address, c.name AS check_name, NULL AS measure, NULL AS expected, NULL AS seen,
    NULL AS score, NULL AS since, NULL AS reason, d.id AS device_id, c.id AS check_id
FROM devices d JOIN checks c ON c.device_id = d.id WHERE 0;

-- From when on a class of facts is kept: what ended before was dropped. The
-- class 'now' is the time that the latest run of the retention went by.
CREATE TABLE cuts (
    class        TEXT NOT NULL PRIMARY KEY,
    kept_from_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
