#!/bin/bash
# Creates the role that migrates and owns the tables, and a role for each service. `firsthour migrate` grants the rights of
# the services, because it knows the tables. Run this once, as the superuser, on a new database:
#   POSTGRES_USER=postgres POSTGRES_DB=firsthour SECRETS=deploy/secrets deploy/postgres/roles.sh
# psql connects to PGHOST and PGPORT; without them, to the socket.
set -euo pipefail

secrets=${SECRETS:-/run/secrets}
ask=(psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB")

for service in migrate apply gateway scoring router notifier reporting; do
    # The password is in the environment, because every process of the machine can read arguments.
    ROLE="firsthour_$service" PASSWORD="$(cat "$secrets/database_password_$service")" "${ask[@]}" <<'SQL'
\getenv role ROLE
\getenv password PASSWORD
CREATE ROLE :"role" LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
GRANT CONNECT ON DATABASE :"DBNAME" TO :"role";
SQL
done

"${ask[@]}" <<'SQL'
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER DATABASE :"DBNAME" OWNER TO firsthour_migrate;
ALTER SCHEMA public OWNER TO firsthour_migrate;
SQL
