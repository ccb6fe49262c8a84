"""Pipeline kinds, one a folder, which exports one `kind.Kind`; `registry` names them, `shared` is what several have."""
