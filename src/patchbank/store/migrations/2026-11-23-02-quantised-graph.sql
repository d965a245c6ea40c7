-- Adds a table for each bank's int8 network, which is quantised with its reference images.
create table quantised_graph (
    category_id bigint not null,
    version integer not null,
    content bytea not null,
    primary key (category_id, version),
    foreign key (category_id, version) references bank
);
