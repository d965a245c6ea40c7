-- The network of a bank in int8, quantised with its reference images: another bank has another one.
create table quantised_graph (
    category_id bigint not null,
    version integer not null,
    content bytea not null,
    primary key (category_id, version),
    foreign key (category_id, version) references bank
);
