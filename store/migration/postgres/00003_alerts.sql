-- The outbox: what was promised to whom and what became of it, the alerts that
-- are behind it, who did what, what people said by the API about alerting, and
-- when a device was under maintenance. The same tables as SQLite has, column by column.

-- +goose Up

SET LOCAL statement_timeout = 0;

INSERT INTO sequences (name, last) VALUES ('revisions', 0), ('deliveries', 0), ('audit', 0), ('book', 0);

-- Each time an incident is written it gets the next revision, in the order of
-- the commits: who has read up to one knows all that was before. 0 for what was
-- written before there were revisions, and has not changed since.
ALTER TABLE incidents ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN subject TEXT COLLATE "C" NOT NULL DEFAULT ''; -- what trouble of Sereno's own is about
CREATE UNIQUE INDEX incidents_revision ON incidents (revision) WHERE revision > 0;

-- How far the changes of incidents were taken in. One row, from the first on.
CREATE TABLE alert_state (
    id          BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    revision    BIGINT NOT NULL,
    restored_us BIGINT NOT NULL -- when a backup was put in place, of which nothing was made yet
);

-- A row for each alert: one trouble with all its returns, by its first incident.
CREATE TABLE alerts (
    id   BIGINT NOT NULL PRIMARY KEY,
    done BIGINT NOT NULL, -- nothing will come of it any more
    doc  TEXT COLLATE "C" NOT NULL -- JSON
);
CREATE INDEX alerts_open ON alerts (id) WHERE done = 0;

-- A row for each message that was promised to a channel.
CREATE TABLE deliveries (
    id          BIGINT NOT NULL PRIMARY KEY,
    dedup_key   TEXT COLLATE "C" NOT NULL,
    channel     TEXT COLLATE "C" NOT NULL,
    stands_for  TEXT COLLATE "C" NOT NULL, -- the channel whose fallback this is; empty for none
    event       TEXT COLLATE "C" NOT NULL,
    policy      TEXT COLLATE "C" NOT NULL,
    step        BIGINT NOT NULL,
    reminder    BIGINT NOT NULL,
    is_last     BIGINT NOT NULL,
    group_text  TEXT COLLATE "C" NOT NULL,
    by_whom     TEXT COLLATE "C" NOT NULL,
    note        TEXT COLLATE "C" NOT NULL,
    was         BIGINT NOT NULL, -- a trouble
    held        TEXT COLLATE "C" NOT NULL,
    promised_us BIGINT NOT NULL,
    due_us      BIGINT NOT NULL,
    state       BIGINT NOT NULL, -- 0 waits; 1 delivered; 2 refused for good; 3 expired; 4 merged; 5 dropped
    into_id     BIGINT NOT NULL, -- of a merged one: the delivery that tells it instead
    tries       BIGINT NOT NULL,
    tried_us    BIGINT NOT NULL,
    next_us     BIGINT NOT NULL,
    answer      TEXT COLLATE "C" NOT NULL,
    unsure      BIGINT NOT NULL,
    settled_us  BIGINT NOT NULL,
    title       TEXT COLLATE "C" NOT NULL
);
CREATE INDEX deliveries_waiting ON deliveries (id) WHERE state = 0;
CREATE INDEX deliveries_promised ON deliveries (promised_us, id);
CREATE INDEX deliveries_channel ON deliveries (channel, promised_us, id);

-- What each delivery tells. One that was merged keeps its rows, with carries =
-- 0: another delivery carries them now. What is carried is told once on a
-- channel.
CREATE TABLE delivery_items (
    delivery_id BIGINT NOT NULL,
    incident_id BIGINT NOT NULL,
    occasion    TEXT COLLATE "C" NOT NULL,
    channel     TEXT COLLATE "C" NOT NULL,
    position    BIGINT NOT NULL,
    carries     BIGINT NOT NULL,
    PRIMARY KEY (delivery_id, incident_id, occasion)
);
CREATE UNIQUE INDEX delivery_items_once ON delivery_items (incident_id, occasion, channel) WHERE carries = 1;
CREATE INDEX delivery_items_merged ON delivery_items (incident_id) WHERE carries = 0;

-- What people did. target and of_id say to what.
CREATE TABLE audit (
    id     BIGINT NOT NULL PRIMARY KEY,
    at_us  BIGINT NOT NULL,
    who    TEXT COLLATE "C" NOT NULL,
    via    TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    of_id  TEXT COLLATE "C" NOT NULL,
    text   TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL
);
CREATE INDEX audit_at ON audit (at_us);
CREATE INDEX audit_of ON audit (target, of_id, id);

-- Channels, policies, windows and silences that were made by the API.
CREATE TABLE book (
    id         BIGINT NOT NULL PRIMARY KEY,
    kind       TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    position   BIGINT NOT NULL,
    doc        TEXT COLLATE "C" NOT NULL, -- JSON, without secrets
    sealed     TEXT COLLATE "C" NOT NULL, -- base64 of the secrets, encrypted; empty for none
    changed_us BIGINT NOT NULL,
    UNIQUE (kind, name)
);

-- Links that were used: each works once.
CREATE TABLE used_links (
    nonce   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    used_us BIGINT NOT NULL
);

-- The stretches in which a device was under maintenance; end_us = 0 while it
-- lasts.
CREATE TABLE maintained (
    device_id   BIGINT NOT NULL,
    window_name TEXT COLLATE "C" NOT NULL,
    begin_us    BIGINT NOT NULL,
    end_us      BIGINT NOT NULL,
    PRIMARY KEY (device_id, window_name, begin_us)
);
CREATE INDEX maintained_open ON maintained (device_id) WHERE end_us = 0;

-- For people who read the database themselves: a row for each delivery and each
-- incident that it tells of, also those that were merged into another.
CREATE VIEW alert_deliveries AS
SELECT y.id AS delivery, y.channel, y.event, y.policy, y.step + 1 AS step, y.reminder, CASE y.state WHEN 0 THEN 'waiting' WHEN 1 THEN 'delivered' WHEN 2 THEN 'refused'
        WHEN 3 THEN 'expired' WHEN 4 THEN 'merged' WHEN 5 THEN 'dropped' END AS state, nullif(y.into_id, 0) AS merged_into, nullif(y.stands_for, '') AS instead_of,
    timestamptz 'epoch' + nullif(y.promised_us, 0) * interval '1 microsecond' AS promised_at, timestamptz 'epoch' + nullif(y.due_us, 0) * interval '1 microsecond' AS due_at, timestamptz 'epoch' + nullif(y.tried_us, 0) * interval '1 microsecond' AS tried_at, timestamptz 'epoch' + nullif(y.settled_us, 0) * interval '1 microsecond' AS settled_at,
    y.tries, y.answer, y.title, i.incident_id AS incident, i.occasions, d.name AS device, d.address, c.name AS check_name,
    CASE n.trouble WHEN 0 THEN 'down' WHEN 1 THEN 'degraded' WHEN 2 THEN 'flapping' WHEN 3 THEN 'isolated' WHEN 4 THEN 'storage' WHEN 5 THEN 'absent' WHEN 6 THEN 'socket'
        WHEN 7 THEN 'overload' WHEN 8 THEN 'clock' WHEN 9 THEN 'outbox' WHEN 10 THEN 'policy' WHEN 11 THEN 'channel' WHEN 12 THEN 'peer' END AS trouble,
    nullif(n.subject, '') AS subject, timestamptz 'epoch' + nullif(n.opened_us, 0) * interval '1 microsecond' AS opened_at, timestamptz 'epoch' + nullif(n.closed_us, 0) * interval '1 microsecond' AS closed_at, n.reason, y.promised_us, y.settled_us
FROM deliveries y LEFT JOIN (
    SELECT delivery_id, incident_id, string_agg(occasion, ', ' ORDER BY occasion) AS occasions FROM delivery_items GROUP BY delivery_id, incident_id
) i ON i.delivery_id = y.id LEFT JOIN incidents n ON n.id = i.incident_id
    LEFT JOIN devices d ON d.id = n.device_id LEFT JOIN checks c ON c.id = n.check_id;
