-- What the proxy reports of a server is written to it by its host name. Making the index holds up writers for well
-- below a second with a hundred thousand servers, because those that are deleted have no row.

create index instance_hostname on instance (hostname);
