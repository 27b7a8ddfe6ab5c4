-- +goose Up
-- Names of entities compare byte by byte (collate "C"): the order that the API promises, and the cheapest one.

-- What is fixed for the life of a database, such as the number of shards (decision O10).
create table settings (
  name  text primary key,
  value text not null
);

-- Every event of every entity, never changed but by the encryption migration (operations.md 1.1).
create table journal (
  id         bigserial,               -- order of the journal as a whole
  pid        text collate "C" not null,
  seq_nr     bigint not null,
  epoch      bigint not null,         -- ownership of the shard under which it was written (O3)
  type       text not null,
  payload    jsonb not null,
  tags       text[] not null,
  request_id text,                    -- null: no request caused it (D7)
  created_at timestamptz not null,
  primary key (pid, seq_nr)
);
create unique index journal_id on journal (id);

create table snapshots (
  id         bigserial,
  pid        text collate "C" not null,
  seq_nr     bigint not null,
  payload    jsonb not null,
  created_at timestamptz not null,
  primary key (pid, seq_nr)
);
create unique index snapshots_id on snapshots (id);

-- The index: one row per connection, written with each of its events (O2). Room on each page keeps the updates in place.
create table connections (
  id           text collate "C" primary key,
  shard        integer not null,
  status       text not null,
  deleted      boolean not null,
  tags         text[] not null,
  priority     bigint not null,
  client_count integer not null,
  interest     jsonb,                 -- null: no target takes signals
  revision     bigint not null        -- sequence number of the newest event
) with (fillfactor = 80);
create index connections_open on connections (shard) where status = 'open' and not deleted;

-- One row per incarnation of a node, one fence per incarnation and append lane, one row per shard (design.md 3.2).
create table members (
  id       text primary key,
  beat     bigint not null,
  address  text not null,
  instance text not null,
  kinds    text[] not null,
  draining boolean not null,
  proc     text not null
) with (fillfactor = 50);

create table fences (
  member  text not null,
  lane    integer not null,
  session bigint not null,
  primary key (member, lane)
) with (fillfactor = 50);

create table shards (
  kind  text not null,
  shard integer not null,
  owner text,
  epoch bigint not null,
  primary key (kind, shard)
) with (fillfactor = 50);

-- Progress of the encryption migration (encryption.md).
create table migrations (
  name     text primary key,
  progress jsonb not null
);

-- +goose Down
drop table migrations, shards, fences, members, connections, snapshots, journal, settings;
