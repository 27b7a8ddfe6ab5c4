-- +goose Up
-- The tables of the PostgreSQL store in SQLite's words: JSON as text, tags as a JSON array, points in time as UTC text of
-- fixed width, which compares as time does.

-- What is fixed for the life of a database, such as the number of shards (decision O10).
create table settings (
  name  text primary key,
  value text not null
) strict, without rowid;

-- Every event of every entity, never changed but by the encryption migration (operations.md 1.1).
create table journal (
  id         integer primary key autoincrement, -- order of the journal as a whole
  pid        text not null,
  seq_nr     integer not null,
  epoch      integer not null,                  -- ownership of the shard under which it was written (O3)
  type       text not null,
  payload    text not null,
  tags       text not null,
  request_id text,                              -- null: no request caused it (D7)
  created_at text not null,
  unique (pid, seq_nr)
) strict;

create table snapshots (
  id         integer primary key autoincrement,
  pid        text not null,
  seq_nr     integer not null,
  payload    text not null,
  created_at text not null,
  unique (pid, seq_nr)
) strict;

-- The index: one row per connection, written with each of its events (O2).
create table connections (
  id           text primary key,
  shard        integer not null,
  status       text not null,
  deleted      integer not null,
  tags         text not null,
  priority     integer not null,
  client_count integer not null,
  interest     text,                            -- null: no target takes signals
  revision     integer not null                 -- sequence number of the newest event
) strict, without rowid;

-- One row per incarnation of a node, one fence per incarnation, one row per shard (design.md 3.2). Beats are kept in memory:
-- no other process can see them.
create table members (
  id       text primary key,
  address  text not null,
  instance text not null,
  kinds    text not null,
  draining integer not null,
  proc     text not null
) strict, without rowid;

create table fences (
  member text not null,
  lane   integer not null,
  primary key (member, lane)
) strict, without rowid;

create table shards (
  kind  text not null,
  shard integer not null,
  owner text,
  epoch integer not null,
  primary key (kind, shard)
) strict, without rowid;

-- Progress of the encryption migration (encryption.md).
create table migrations (
  name     text primary key,
  progress text not null
) strict, without rowid;

-- +goose Down
drop table migrations;
drop table shards;
drop table fences;
drop table members;
drop table connections;
drop table snapshots;
drop table journal;
drop table settings;
