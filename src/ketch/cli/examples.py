"""Examples on help pages, by implementation of the command."""

EXAMPLES: "dict[str, tuple[str, ...]]" = {
    "run:run": (
        "ketch run --rm -it busybox sh               a shell, gone when it ends",
        "ketch run -d --name web -p 8080:80 web:1    a service in the background",
        "ketch run --rm -v .:/src -w /src gcc make   a tool over the files here",
    ),
    "exec:execute": (
        "ketch exec -it web sh",
        "ketch exec -e LEVEL=debug web /bin/check",
    ),
    "ps:ps": (
        "ketch ps -a --filter status=exited",
        "ketch ps --format 'table {{.Names}}\\t{{.Ports}}'",
    ),
    "build:build": (
        "ketch build -t name:1 .",
        "ketch build -f other.Dockerfile --target test .",
    ),
    "logs:logs": ("ketch logs -f --tail 20 web", "ketch logs --since 10m web"),
    "cp:cp": (
        "ketch cp web:/etc/hosts .",
        "ketch cp -a site/. web:/www",
        "tar c site | ketch cp - web:/www",
    ),
    "inspect:inspect": (
        "ketch inspect -f '{{.State.Status}}' web",
        "ketch inspect -f '{{json .Mounts}}' web",
    ),
    "images:images": (
        "ketch images --filter dangling=true",
        "ketch images --format '{{.Repository}}:{{.Tag}} {{.Size}}'",
    ),
    "archive:save": ("ketch save -o both.tar one:1 two:2", "ketch save one | gzip > one.tar.gz"),
    "archive:load": ("ketch load -i both.tar",),
    "events:events": ("ketch events --filter type=container --since 1h",),
    "why:why": ("ketch why web", "ketch why --format '{{.Summary}}' web"),
    "update:update": ("ketch update --memory 512m --cpus 1.5 web",),
    "network:create": ("ketch network create --subnet 10.7.0.0/24 inner",),
    "volume:create": ("ketch volume create --label kind=db data",),
    "prune:system": ("ketch system prune --volumes --filter until=24h",),
    "completion:completion": (
        "ketch completion bash > /etc/bash_completion.d/ketch",
        "ketch completion zsh > /usr/local/share/zsh/site-functions/_ketch",
        "ketch completion fish > ~/.config/fish/completions/ketch.fish",
    ),
}
