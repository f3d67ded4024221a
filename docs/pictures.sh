#!/usr/bin/env bash
# Draws the pictures of the manual from the running program, in the test
# network (root, tmux): docs/pictures.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/need
need tmux tmux
if [ "${1:-}" != inside ]; then
	make build
	bin/sereno-lab --delay 2ms..9ms --loss 0.5% --silent 10.0.6.0/24@35s -q -- "$0" inside
	exit
fi
data=$(mktemp -d)
bin/sereno serve --config docs/example.yaml --data "$data" >/dev/null 2>&1 &
sereno=$!
trap 'kill $sereno; wait $sereno; rm -rf "$data"' EXIT
sleep 46
tmux -L pictures new-session -d -x 112 -y 22 "bin/sereno status --watch"
sleep 3
tmux -L pictures capture-pane -e -p | go run ./bench/picture >docs/status.svg
tmux -L pictures kill-server
