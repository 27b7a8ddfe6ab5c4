-- +goose Up
-- Whom a member cannot reach although it beats: from all rows together every node sees who must step aside.
alter table members add column unreachable text[] not null default '{}';

-- +goose Down
alter table members drop column unreachable;
