-- Calls the box of a region box_xyxy, as Python does.

update inspection set regions = (
    select jsonb_agg(
        case when region ? 'box'
            then region - 'box' || jsonb_build_object('box_xyxy', region -> 'box') else region end
        order by position
    )
    from jsonb_array_elements(regions) with ordinality as listed (region, position)
)
where jsonb_path_exists(regions, '$[*].box');
