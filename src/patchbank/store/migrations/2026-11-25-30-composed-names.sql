-- Stores category names in Unicode's composed form (NFC): macOS decomposes names, so that one name
-- could mean two categories. Where both exist, the id is appended to the decomposed one. Encodings
-- other than UTF-8 cannot hold decomposed letters.
do $$
begin
    if current_setting('server_encoding') = 'UTF8' then
        with spelled as (
            select
                category_id, name, normalize(name, nfc) as composed,
                row_number() over (
                    partition by normalize(name, nfc)
                    order by name is nfc normalized desc, category_id
                ) as number
            from category
        )
        update category
        set name = spelled.composed || case when number = 1 then '' else ' (' || category.category_id || ')' end
        from spelled
        where spelled.category_id = category.category_id and spelled.name is not nfc normalized;
    end if;
end
$$;
