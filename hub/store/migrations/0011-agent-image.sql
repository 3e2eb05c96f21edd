-- owner: hub/work/pinned-images.ts
-- The local id of the image that an agent runs from, as the operator last took it (S1-3, fault D2). Whatever the name of that image points to
-- later, even in another run of the hub, this image is started.
create table agent_image (
  agent text primary key,
  image text not null,
  image_id text not null
) strict;
