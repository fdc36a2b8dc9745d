# docker build -t aal . && docker run --gpus all --shm-size 8g -v $PWD:/work aal aal train CONFIG
# Not run by our tests.
FROM pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN pip install --no-cache-dir '/src[mm,timm]'
WORKDIR /work
