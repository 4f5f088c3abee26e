-- Views: what of a page is shown, where that is too much for an address. A link names one by its id.

create table views (
    view varchar primary key,        -- digest of page and state: the same state is the same view
    page varchar not null,           -- a file of dashboard/pages
    state json not null,
    name varchar not null,           -- empty while nobody has named it
    author varchar not null,
    created timestamp not null
);
